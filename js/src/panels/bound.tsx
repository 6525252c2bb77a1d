// A number that is typed: it is taken when the person is done with it.
import { useSignal } from "@preact/signals";
import { measure } from "../model/format";

interface BoundProps {
  label: string;
  number: number;
  digits: number;
  onSet(bound: number): void;
}

export function Bound({ label, number, digits, onSet }: BoundProps) {
  /** What is being typed; it stays though the number beside it changes. */
  const draft = useSignal<string | null>(null);
  const shown = measure(number, digits);
  const typed = () =>
    draft.value === null || draft.value.trim() === shown ? null : read(draft.value);
  const commit = () => {
    const bound = typed();
    draft.value = null;
    if (bound !== null && Number.isFinite(bound)) onSet(bound);
  };
  return (
    <input
      class="qw-bound"
      type="text"
      inputMode="decimal"
      aria-label={label}
      aria-invalid={Number.isNaN(typed())}
      value={draft.value ?? shown}
      onInput={(event) => {
        draft.value = event.currentTarget.value;
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter") event.currentTarget.blur();
        if (event.key === "Escape") draft.value = null;
      }}
      onBlur={commit}
    />
  );
}

/** A number as people type it: 1,000 and −2.5 and 2,5; NaN for anything else. */
function read(text: string): number {
  const plain = text.trim().replace("−", "-");
  if (plain === "") return Number.NaN;
  const grouped = /^-?\d{1,3}(,\d{3})+(\.\d*)?$/.test(plain);
  const number = Number(grouped ? plain.replaceAll(",", "") : plain.replace(",", "."));
  return Number.isFinite(number) ? number : Number.NaN;
}
