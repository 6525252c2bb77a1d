// Keys as lists and the whole widget take them.

/** Whether a key is pressed alone; combinations such as Ctrl+S are the notebook's. */
export function isAlone({ ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return !ctrlKey && !metaKey && !altKey;
}

/** The row that a key leads to from the active one, with so many rows to a page; undefined for other keys. */
export function rowAfter(
  key: string,
  active: number,
  rows: number,
  page: number,
): number | undefined {
  const steps: Record<string, number> = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: page,
    PageUp: -page,
    Home: -rows,
    End: rows,
  };
  const step = steps[key];
  return step && Math.max(0, Math.min(active + step, rows - 1));
}
