// What is wrong or wasteful in the selected tensor, in sentences.
import type { Store } from "../model/store";
import type { Severity } from "../wire";

const MARKS: Record<Severity, string> = { error: "✕", warning: "!", note: "i" };

export function FindingsPanel({ store }: { store: Store }) {
  const findings = store.findings.shown.value;
  if (findings.length === 0) return null;
  return (
    <ul class="qw-findings" aria-label="Findings">
      {findings.map(({ rule, severity, sentence }) => (
        <li key={rule + sentence} class={`qw-finding-${severity}`}>
          <b role="img" aria-label={severity}>
            {MARKS[severity]}
          </b>
          <span>{sentence}</span>
        </li>
      ))}
    </ul>
  );
}
