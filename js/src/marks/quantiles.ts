// Quantiles of a distribution on a thin strip: pixels in, path out.

/** From the first pixel to the last one a line, thicker towards the middle one, which is a tick over all the height. */
export function quantileStrip(pixels: readonly number[], top: number, height: number): string {
  const last = pixels.length - 1;
  const half = last >> 1;
  let path = "";
  for (let place = 0; place < half; place++) {
    const thick = Math.max(((place * 2) / last) * height, 1);
    path += box(pixels[place] ?? 0, pixels[last - place] ?? 0, top + (height - thick) / 2, thick);
  }
  const middle = pixels[half] ?? 0;
  return path + box(middle - 1, middle + 1, top - 1, height + 2);
}

function box(left: number, right: number, top: number, height: number): string {
  return `M${pixel(left)} ${pixel(top)}H${pixel(right)}v${pixel(height)}H${pixel(left)}Z`;
}

function pixel(number: number): number {
  return Math.round(number * 100) / 100;
}
