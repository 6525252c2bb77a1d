// A distribution in one line of text: counts in, path out.

/** A filled outline, `width` by `height`, tallest count at the top. */
export function sparklinePath(counts: ArrayLike<number>, width: number, height: number): string {
  let tallest = 0;
  for (let bin = 0; bin < counts.length; bin++) tallest = Math.max(tallest, counts[bin] ?? 0);
  if (tallest === 0) return "";
  const step = width / counts.length;
  let path = `M0 ${height}`;
  for (let bin = 0; bin < counts.length; bin++) {
    const share = (counts[bin] ?? 0) / tallest;
    const top = share === 0 ? height : Math.min(height - 0.75, height * (1 - share));
    path += `V${Math.round(top * 10) / 10}H${Math.round((bin + 1) * step * 10) / 10}`;
  }
  return `${path}V${height}Z`;
}
