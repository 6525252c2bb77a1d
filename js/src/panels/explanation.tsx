// One element of the selected tensor, from its bytes to its value and to the reference.
import { useSignal } from "@preact/signals";
import type { ExplanationChoice } from "../model/explanation";
import { shape } from "../model/format";
import type { Store } from "../model/store";

interface Props {
  store: Store;
  explanation: ExplanationChoice;
}

export function ExplanationPanel({ store, explanation }: Props) {
  const { index, answer, search } = explanation;
  if (index.value === null) return null;
  const { steps, trouble } = answer.value;
  const isOffline = steps.length === 0 && store.presence.value === "offline";
  const sentence = isOffline
    ? "A value is explained in the running notebook."
    : search.value || trouble;
  return (
    <>
      <Place store={store} explanation={explanation} index={index.value} />
      {sentence && <p class="qw-quiet">{sentence}</p>}
      {steps.length > 0 && (
        <table class="qw-steps">
          <tbody>
            {steps.map(({ name, number, words }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{number}</td>
                <td class="qw-quiet">
                  <bdi>{words}</bdi>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

/** Where the element is: typed, or stepped to. */
function Place({ store, explanation, index }: Props & { index: readonly number[] }) {
  const draft = useSignal<string | null>(null);
  const isWrong = useSignal(false);
  const lengths = store.manifest.value.tensors.shape[store.selected.value] ?? [];
  const last = index.length - 1;
  const width = `${Math.max(lengths.join(", ").length, 6) + 3}ch`;
  const step = (by: number) => {
    draft.value = null;
    explanation.step(by);
  };
  const arrow = (by: number, mark: string, name: string) => (
    <button
      type="button"
      aria-label={name}
      disabled={(index[last] ?? 0) + by < 0 || (index[last] ?? 0) + by >= (lengths[last] ?? 0)}
      onClick={() => step(by)}
    >
      {mark}
    </button>
  );
  return (
    <div class="qw-controls">
      <input
        class="qw-bound"
        type="text"
        aria-label="Index of the element"
        aria-invalid={draft.value !== null && isWrong.value}
        spellcheck={false}
        style={{ width }}
        value={draft.value ?? index.join(", ")}
        onInput={(event) => {
          draft.value = event.currentTarget.value;
          isWrong.value = !explanation.choose(draft.value);
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by) step(by);
          else if (event.key === "Escape" || event.key === "Enter") draft.value = null;
          else return;
          event.preventDefault();
        }}
        onBlur={() => {
          draft.value = null;
        }}
      />
      <span class="qw-choice">
        {arrow(-1, "◂", "Element before")}
        {arrow(1, "▸", "Element behind")}
      </span>
      <span>of {shape(lengths)}</span>
    </div>
  );
}
