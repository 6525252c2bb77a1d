// What Python compresses for the page: zlib, whole.

/** More than any model's layers and sketches take: what grows beyond that is not what Python wrote. */
const MOST_BYTES = 2 ** 29;

/** Inflate; rejects with a sentence where that is no zlib, is cut short, or grows beyond all measure. */
export async function unzip(packed: Uint8Array, most = MOST_BYTES): Promise<Uint8Array> {
  const stream = new Blob([packed as BlobPart])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      void reader.cancel();
      throw new Error("it is too large");
    }
    parts.push(value);
  }
  const whole = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
