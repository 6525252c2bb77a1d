import { effect } from "@preact/signals";

/** Run an action once a reading of signals has been still for a while; returns the way to stop. */
export function debounced(reading: () => unknown, delay: number, action: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = effect(() => {
    reading();
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}
