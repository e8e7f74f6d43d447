// Checkpoints: a slider and a play button; points glide along the aligned maps, colours follow.

const glide = { from: null, to: null, start: 0, length: 0, running: 0 };
let playing = 0;

/** Put the points where the chosen map and frame have them, at once. */
function settle() {
  cancelAnimationFrame(glide.running);
  glide.running = 0;
  places = placesOf(chosen.map, chosen.frame);
  buildGrid();
}

/** Let the points glide to the chosen frame. */
function glideToFrame(length) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) { settle(); draw(); return; }
  Object.assign(glide, { from: places.slice(), to: placesOf(chosen.map, chosen.frame), start: performance.now(), length });
  if (!glide.running) glide.running = requestAnimationFrame(step);
}

/** One picture of the way. */
function step(now) {
  const share = Math.max(0, Math.min(1, (now - glide.start) / glide.length)), eased = share * share * (3 - 2 * share);
  const { from, to } = glide;
  for (let k = 0; k < 2 * count; k += 1) places[k] = from[k] + (to[k] - from[k]) * eased;
  glide.running = share < 1 ? requestAnimationFrame(step) : 0;
  if (!glide.running) { settle(); drawTip(); }
  draw();
}

/** Whether points are on their way. */
const gliding = () => glide.running !== 0;

/** Go through the checkpoints from the first, or stop. */
function play() {
  if (playing) { stop(); return; }
  if (chosen.frame === frames.length - 1) choose("frame", 0);
  $("play").textContent = "❚❚";
  $("play").setAttribute("aria-label", "Stop");
  playing = setInterval(() => {
    if (chosen.frame + 1 < frames.length) choose("frame", chosen.frame + 1);
    if (chosen.frame + 1 >= frames.length) stop();
  }, 1100);
}

function stop() {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = "▶";
  $("play").setAttribute("aria-label", "Play the checkpoints");
}

/** Show the slider if there is more than one checkpoint. */
function showTime() {
  $("time").hidden = frames.length < 2;
  const slider = $("frame"), label = () => {
    slider.value = chosen.frame;
    slider.setAttribute("aria-valuetext", frames[chosen.frame].label);
    $("frame-label").textContent = frames[chosen.frame].label;
  };
  slider.max = frames.length - 1;
  slider.addEventListener("input", () => { if (playing) stop(); choose("frame", Number(slider.value)); });
  $("play").addEventListener("click", play);
  on("frame", () => { label(); glideToFrame(playing ? 900 : 350); });
  label();
}
