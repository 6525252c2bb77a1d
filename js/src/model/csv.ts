// A histogram as a table in text.
import type { Histogram } from "./histogram";

/** One line for each bin: its edges, how many elements it holds, by how much that is off at most, and its one code. */
export function csvOf({ edges, counts, errors, codeOf }: Histogram): string {
  const lines = [...counts].map((count, bin) => {
    const cells = [edges[bin], edges[bin + 1], count, errors[bin]];
    return (codeOf === null ? cells : [...cells, codeOf(bin)]).join(",");
  });
  return [`lower,upper,count,error${codeOf === null ? "" : ",code"}`, ...lines, ""].join("\n");
}
