// A scrolling list of equal rows that draws only those in view.
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";

interface Props {
  /** One per row; a new list is looked at anew. */
  items: readonly unknown[];
  rowHeight: number;
  /** Kept in the document even out of view, so that it can hold the focus; -1 for none. */
  pinned: number;
  row(index: number): ComponentChildren;
  /** Told which rows are in view, once after each change. */
  onView(first: number, last: number): void;
  listRef: RefObject<HTMLDivElement | null>;
  // biome-ignore lint/suspicious/noExplicitAny: attributes of the list's own element
  [attribute: string]: any;
}

const OVERSCAN = 6;

export function VirtualList(props: Props) {
  const { items, rowHeight, pinned, row, onView, listRef, ...attributes } = props;
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const count = items.length;
  const inView = Math.ceil(height / rowHeight);
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight), count - inView));
  const last = Math.min(count, Math.ceil((top + height) / rowHeight));
  const from = Math.max(0, first - OVERSCAN);
  const to = Math.min(count, last + OVERSCAN);

  useLayoutEffect(() => {
    const element = listRef.current;
    if (element === null) return;
    const measure = () => {
      // A detached or hidden list has no height; it is measured again when it is shown.
      if (element.clientHeight > 0) setHeight(element.clientHeight);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [listRef]);

  useEffect(() => onView(first, last), [items, first, last]);

  const indices = Array.from({ length: Math.max(0, to - from) }, (_, place) => from + place);
  if (pinned >= 0 && pinned < count && (pinned < from || pinned >= to)) indices.push(pinned);
  return (
    <div
      {...attributes}
      ref={listRef}
      onScroll={(event) => setTop((event.currentTarget as HTMLElement).scrollTop)}
    >
      <div class="qw-list-extent" style={{ height: `${count * rowHeight}px` }}>
        {indices.map((index) => (
          <div
            key={index}
            role="presentation"
            class="qw-list-row"
            style={{ top: `${index * rowHeight}px`, height: `${rowHeight}px` }}
          >
            {row(index)}
          </div>
        ))}
      </div>
    </div>
  );
}

/** Scroll so that a row is in view. */
export function revealRow(list: HTMLElement | null, index: number, rowHeight: number): void {
  if (list === null) return;
  const top = index * rowHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + rowHeight > list.scrollTop + list.clientHeight)
    list.scrollTop = top + rowHeight - list.clientHeight;
}

/** How many rows a page key passes. */
export function pageOf(list: HTMLElement | null, rowHeight: number): number {
  return Math.max(1, Math.floor((list?.clientHeight ?? 0) / rowHeight) - 1);
}
