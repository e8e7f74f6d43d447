"""Scores of heads on attention patterns built by hand, where each score is known."""

import pytest
import torch

from susceptometer.domains import scores

BLOCK, ROWS = 6, 4
LENGTH = 1 + 2 * BLOCK


def looking_back(distance):
    """Rows of attention that goes wholly to the position ``distance`` before, or to the first one."""
    pattern = torch.zeros(LENGTH, LENGTH)
    for i in range(LENGTH):
        pattern[i, max(0, i - distance)] = 1
    return pattern.expand(ROWS, 1, LENGTH, LENGTH)


def uniform():
    return (torch.ones(LENGTH, LENGTH).tril() / torch.arange(1, LENGTH + 1)[:, None]).expand(ROWS, 1, -1, -1)


def test_repeated_tokens_are_bos_and_a_block_twice(seed):
    found = scores.repeated_tokens(50, rows=ROWS, block=BLOCK, seed=seed)
    assert found.shape == (ROWS, LENGTH)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:] > 0).all()
    assert torch.equal(found[:, 1 : 1 + BLOCK], found[:, 1 + BLOCK :])


def test_a_perfect_previous_token_head():
    both = torch.cat([looking_back(1), looking_back(2)], dim=1)
    # looking two back hits the previous position once in twelve: position 1 has no other
    torch.testing.assert_close(scores.previous_token_score(both), torch.tensor([1.0, 1 / 12]))


def test_a_perfect_induction_head_by_its_definition(seed):
    tokens = scores.repeated_tokens(500, rows=1, block=BLOCK, seed=seed)[0].tolist()
    pattern = torch.zeros(1, 1, LENGTH, LENGTH)
    for i in range(LENGTH):
        earlier = [j + 1 for j in range(i) if tokens[j] == tokens[i]]
        pattern[0, 0, i, earlier[-1] if earlier else 0] = 1
    assert scores.prefix_matching_score(pattern, BLOCK).item() == 1
    assert scores.previous_token_score(pattern).item() < 0.2


@pytest.mark.parametrize("distance", [BLOCK - 2, BLOCK, 1])
def test_heads_one_beside_the_induction_diagonal_score_nothing(distance):
    assert scores.prefix_matching_score(looking_back(distance), BLOCK).item() == 0
    assert scores.prefix_matching_score(looking_back(BLOCK - 1), BLOCK).item() == 1


def test_uniform_attention():
    places = torch.arange(1, LENGTH + 1).float()
    found = scores.previous_token_score(uniform()).item()
    assert found == pytest.approx((1 / places[1:]).mean().item())
    found = scores.prefix_matching_score(uniform(), BLOCK).item()
    assert found == pytest.approx((1 / places[BLOCK + 1 :]).mean().item())


def test_repeat_losses_leave_the_unannounced_token_out():
    losses = torch.full((ROWS, 2 * BLOCK), 7.0)
    losses[:, BLOCK] = 1000.0
    losses[:, BLOCK + 1 :] = 0.5
    assert scores.repeat_losses(losses, BLOCK).tolist() == [7.0, 0.5]


def test_in_context_score_is_late_minus_early():
    losses = torch.linspace(5, 3, 101).expand(ROWS, 101)
    assert scores.in_context_score(losses, 20, 80).item() == pytest.approx(-1.2, abs=1e-5)


def test_induction_heads_are_strong_and_not_in_the_first_layer():
    found = torch.full((2, 4), 0.01)
    found[0, 1], found[1, 2], found[1, 3] = 0.5, 0.041, 0.039
    assert scores.induction_heads(found) == [(1, 2)]
