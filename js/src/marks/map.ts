// How often two numbers go together, as shades: counts in, one path per shade out.
import type { Scale } from "./scale";
import { SHADES, shadesOf, stripPaths } from "./strip";

/** A strip for each cell along `y`; `counts` has a row for each cell along `x`. */
export function mapPaths(
  xEdges: ArrayLike<number>,
  yEdges: ArrayLike<number>,
  counts: ArrayLike<number>,
  x: Scale,
  y: Scale,
): string[] {
  const paths = Array.from({ length: SHADES }, () => "");
  const shades = shadesOf(counts);
  const columns = yEdges.length - 1;
  const ends = [x.at(xEdges[0] ?? 0), x.at(xEdges[xEdges.length - 1] ?? 0)] as const;
  for (let cell = 0; cell < columns; cell++) {
    const strip = shades.filter((_, place) => place % columns === cell);
    const [top, bottom] = [cell + 1, cell].map(
      (edge) => Math.round(y.at(yEdges[edge] ?? 0) * 10) / 10,
    );
    stripPaths(xEdges, strip, x, ends, [top ?? 0, bottom ?? 0]).forEach((path, shade) => {
      paths[shade] += path;
    });
  }
  return paths;
}
