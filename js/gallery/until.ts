import { effect } from "@preact/signals";

/** Wait until a reading of signals is true. */
export function until(reading: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = effect(() => {
      if (reading()) queueMicrotask(() => [stop(), resolve()]);
    });
  });
}
