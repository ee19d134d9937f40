// Canvases: a sharp pen, and the colors of a third figure.

const RAMP = [[72, 84, 200], [29, 114, 177], [31, 160, 148], [112, 196, 95], [246, 219, 60]];

export function ramp(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1);
  const [a, b] = [RAMP[Math.floor(place)], RAMP[Math.floor(place) + 1]];
  const mix = a.map((value, i) => Math.round(value + (b[i] - value) * (place % 1)));
  return `rgb(${mix.join(",")})`;
}

// Clears a canvas that fills its place, as sharp as the screen, and gives its pen.
export function sharp(canvas, place) {
  const dots = window.devicePixelRatio || 1;
  const [wide, high] = [place.clientWidth, place.clientHeight];
  if (canvas.width !== Math.round(wide * dots) || canvas.height !== Math.round(high * dots)) {
    canvas.width = Math.round(wide * dots);
    canvas.height = Math.round(high * dots);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  pen.clearRect(0, 0, wide, high);
  return pen;
}
