// Reads the clock of the test card from a video's frames; see internal/testcard/clock.go.
(() => {
  const timeBits = 40;
  const bits = 48;
  const top = 1 / 45;
  const height = 1 / 15;

  /** Returns Unix milliseconds, or null when the row of cells cannot be read. */
  window.readClock = (source, width, heightPx, context) => {
    context.drawImage(source, 0, heightPx * (top + height / 2) - 1, width, 2, 0, 0, bits * 4, 2);
    const { data } = context.getImageData(0, 0, bits * 4, 1);
    let ms = 0;
    let check = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = (bit * 4 + 2) * 4;
      const on = data[at] + data[at + 1] + data[at + 2] > 3 * 126 ? 1 : 0;
      if (bit < timeBits) ms = ms * 2 + on;
      else check = check * 2 + on;
    }
    let sum = 0;
    for (let rest = ms; rest > 0; rest = Math.floor(rest / 256)) sum = (sum + (rest % 256)) & 255;
    if (((~sum) & 255) !== check) return null;
    const span = 2 ** timeBits;
    return Math.floor(Date.now() / span) * span + ms;
  };

  /** Collects, for each frame shown, its media time and its age; "age" is null without a clock. */
  window.watchFrames = (video) => {
    const canvas = document.createElement("canvas");
    canvas.width = bits * 4;
    canvas.height = 2;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const frames = [];
    const onFrame = (_, frame) => {
      const clock = window.readClock(video, frame.width, frame.height, context);
      frames.push({ at: Date.now(), time: frame.mediaTime, width: frame.width, age: clock === null ? null : Date.now() - clock });
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    return frames;
  };
})();
