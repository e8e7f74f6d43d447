"""The Ray engine: the numbers of the local engine bit for bit, whatever is lost; one clear error where it cannot run."""

import random
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray.exceptions

from susceptometer.cli import COMMANDS
from susceptometer.compute import parcel
from susceptometer.compute.asked import asked_engine
from susceptometer.compute.cells import Order, missing_work
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.parcel import beacon, make_cell, packed
from susceptometer.compute.ray_engine import Dispatch, RayEngine, ray_library
from susceptometer.compute.read import extend, read, wanting
from susceptometer.compute.store import new_card, write_run
from susceptometer.errors import RunError, SubjectError
from susceptometer.sampling.run import Keep
from susceptometer.view.arguments import parser
from kills import RayDriver, ray_workers
from toy_subject import HEADS, recipe, rows, same_numbers, tiny

LOCAL = ReadOptions(progress=False, block=2)


def whole(path, groups=8, options=LOCAL):
    return read(tiny(), HEADS, recipe=recipe(groups), seed=6, into=path, options=options)


@pytest.fixture(scope="module")
def engine():
    """Two worker processes of a Ray that ends with this module."""
    yield RayEngine(workers=2)
    ray.shutdown()


def kill_some(kills, dice, done):
    """SIGKILL ``kills`` workers while they are at work."""
    while kills and not done.is_set():
        busy = ray_workers()
        if busy:
            time.sleep(dice.uniform(0.0, 0.1))
            dice.choice(busy).kill()
            kills -= 1
        time.sleep(0.02)


def test_killed_workers_change_no_number(tmp_path, engine, seed):
    lost, done = [], threading.Event()
    killer = threading.Thread(target=kill_some, args=(1, random.Random(seed), done))
    killer.start()
    options = replace(LOCAL, engine=replace(engine, announce=lost.append))
    remote = whole(tmp_path / "ray", 24, options)
    done.set()
    killer.join()
    assert lost and "is made again" in lost[0]
    assert same_numbers(remote, whole(tmp_path / "local", 24))
    assert not list((tmp_path / "ray").rglob(".part-*"))


@pytest.fixture
def order(tmp_path):
    """An order of four cells of a run that has begun."""
    subject = tiny()
    card = new_card(subject, recipe(4), seed=6, block=2, keep=Keep())
    card = wanting(card, dict(subject.components), 4, subject.probes)
    write_run(tmp_path, card)
    return Order(tmp_path, card, subject, dict(subject.components))


class Unwatched:
    """A watch that only counts."""

    def __init__(self):
        self.cells = []

    def done(self, work, data):
        self.cells.append((work, "loss" in data))


def lossy(order, token, chance, dice):
    """Ray as `Dispatch` sees it: works are made in this process, some workers are lost before or after storing."""

    def get(work):
        early = dice.random() < chance
        outcome = None if early else make_cell(lambda: packed(order, token), token, work, "cpu")
        if early or dice.random() < chance:
            raise ray.exceptions.WorkerCrashedError
        return outcome

    wait = lambda running, num_returns, timeout: (running[-num_returns:], [])  # noqa: E731
    return SimpleNamespace(
        get=get, wait=wait, cancel=lambda *_, **__: None, exceptions=ray.exceptions,
        cluster_resources=lambda: {"CPU": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("shared", [True, False], ids=["shared folder", "own disks"])
def test_losses_before_and_after_storing_cost_no_cell(order, tmp_path_factory, shared, seed):
    watch, works, told = Unwatched(), missing_work(order.card, []), []
    with beacon(order.path) as token:
        seen = token if shared else "another folder's"
        fake = lossy(order, seen, 0.4, random.Random(seed))
        Dispatch(fake, order, watch, lambda work: work, RayEngine(announce=told.append)).run(works)
    assert sorted(map(str, watch.cells)) == sorted(map(str, [(work, True) for work in works]))
    again = whole(order.path, 4)
    assert told and same_numbers(again, whole(tmp_path_factory.mktemp("local"), 4))


def test_a_cell_that_always_loses_its_worker_is_given_up(order):
    with beacon(order.path) as token:
        fake = lossy(order, token, 1.0, random.Random(0))
        dispatch = Dispatch(fake, order, Unwatched(), lambda work: work, RayEngine(losses=3))
        with pytest.raises(RunError, match="keeps losing its worker.*4 times.*lack of memory"):
            dispatch.run(missing_work(order.card, []))


def test_a_straggler_is_copied_once_and_the_other_copy_stopped(order, monkeypatch):
    """The first cell handed out never ends; its copy, made while other cores are idle, does."""
    works, started, stopped = missing_work(order.card, []), [], []
    monkeypatch.setattr("susceptometer.compute.ray_engine.LATE", -1.0)

    def submit(work):
        started.append(work)
        return len(started)

    with beacon(order.path) as token:
        fake = lossy(order, token, 0.0, random.Random(0))
        fake.wait = lambda running, num_returns, timeout: ([n for n in running if n != 1][:num_returns], [])
        fake.get = lambda number: make_cell(lambda: packed(order, token), token, started[number - 1], "cpu")
        fake.cluster_resources = lambda: {"CPU": 9}
        fake.cancel = lambda reference, force: stopped.append(reference)
        watch = Unwatched()
        Dispatch(fake, order, watch, submit, RayEngine()).run(works)
    assert started.count(works[0]) == 2 and 1 in stopped
    assert sorted(map(str, watch.cells)) == sorted(str((work, True)) for work in works)


def test_new_text_on_workers_without_the_folder_is_read_by_the_sender(tmp_path):
    new, keep = {"new": rows("new", 3)}, replace(LOCAL, keep=Keep(weights=True))
    for name in ("ray", "local"):
        read(tiny(), HEADS, recipe=recipe(4), seed=6, into=tmp_path / name, options=keep)

    def alone(order, works, watch):
        fake = lossy(order, "not seen", 0.0, random.Random(0))
        Dispatch(fake, order, watch, lambda work: work, RayEngine()).run(works)

    remote = extend(tmp_path / "ray", tiny(), probes=new, options=replace(keep, engine=alone))
    assert same_numbers(remote, extend(tmp_path / "local", tiny(), probes=new, options=keep))


def test_errors_of_a_worker_are_the_readers_errors(order, monkeypatch):
    def full(*_):
        raise RunError("the disk is full", where="worker")

    monkeypatch.setattr(parcel, "run_work", full)
    with beacon(order.path) as token:
        fake = lossy(order, token, 0.0, random.Random(0))
        dispatch = Dispatch(fake, order, Unwatched(), lambda work: work, RayEngine())
        with pytest.raises(RunError, match="the disk is full"):
            dispatch.run(missing_work(order.card, []))


def unpicklable(again):
    """The tiny subject with a lock inside, and a function that makes it."""
    return replace(tiny(), meta={"lock": threading.Lock(), "rebuild": again})


def test_a_subject_that_cannot_be_pickled_is_made_again(order):
    sent = packed(replace(order, subject=unpicklable(tiny)), "token")
    assert sent.subject is None
    arrived = sent.order()
    assert set(arrived.subject.probes) == set(order.subject.probes)


def test_another_subject_made_again_is_refused(order):
    sent = packed(replace(order, subject=unpicklable(lambda: tiny(5))), "token")
    with pytest.raises(RunError, match="another subject.*the weights.*same files"):
        sent.order()


def test_a_subject_that_can_neither_be_sent_nor_made_is_refused(order):
    with pytest.raises(SubjectError, match="cannot be sent.*lock.*rebuild"):
        packed(replace(order, subject=unpicklable(None)), "token")


def test_without_ray_one_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"Ray is not installed.*pip install 'susceptometer\[cluster\]'"):
        ray_library()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--engine", "ray", "--workers", "3"], (None, 3)),
        (["--ray-address", "auto"], ("auto", None)),
        ([], None),
    ],
)
def test_the_command_line_chooses_the_engine(words, expected):
    given = parser(dict.fromkeys(COMMANDS, "")).parse_args(["read", "pico", *words])
    engine = asked_engine(given, print)
    assert expected == ((engine.address, engine.workers) if isinstance(engine, RayEngine) else None)


def test_an_address_where_nothing_answers_is_one_error(order, monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match="cannot be joined.*auto.*any running Ray"):
        RayEngine(address="auto")(order, [], Unwatched())


@pytest.mark.slow
def test_fifty_kills_of_workers_and_drivers_change_no_number(tmp_path, seed):
    dice, workers, drivers, runs = random.Random(seed), 0, 0, 0
    local = whole(tmp_path / "local", 40)
    while workers + drivers < 50:
        path = tmp_path / str(runs)
        with RayDriver(path, 40) as driver:
            while driver.running() and workers + drivers < 50:
                if dice.random() < 0.3:
                    drivers += driver.killed()
                else:
                    workers += driver.workers_killed(dice.uniform(0.0, 0.3))
        runs += 1
        assert same_numbers(whole(path, 40), local)
        assert not list(path.rglob(".part-*"))
    print(f"{workers} kills of workers, {drivers} of the whole run, in {runs} runs; 0 numbers changed")
