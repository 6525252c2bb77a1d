// What is wrong or wasteful in the selected tensor and in the whole model, in sentences.
import type { ComponentChildren } from "preact";
import { count } from "../model/format";
import type { Store } from "../model/store";
import { Fold } from "../parts/fold";
import type { FindingEntry, Severity } from "../wire";

const MARKS: Record<Severity, string> = { error: "✕", warning: "!", note: "i" };

export function FindingsPanel({ store }: { store: Store }) {
  const findings = store.findings.shown.value;
  if (findings.length === 0) return null;
  return <Sentences findings={findings} label="Findings" />;
}

/** All of them under one line; each leads to its tensor. */
export function ModelFindings({ store }: { store: Store }) {
  const { isOpen, ofModel } = store.findings;
  const { findings, more } = ofModel.value;
  if (findings.length === 0) return null;
  const counts = Object.keys(MARKS).flatMap((severity) => {
    const { length } = findings.filter((finding) => finding.severity === severity);
    return length > 0 ? `${count(length)} ${severity}${length > 1 ? "s" : ""}` : [];
  });
  const name = counts.join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
  const names = store.manifest.value.tensors.name;
  return (
    <Fold isOpen={isOpen} name={name} class="qw-notes">
      <Sentences
        findings={findings}
        label="Findings of the model"
        lead={({ tensor }) =>
          tensor >= 0 && (
            <>
              <button type="button" class="qw-link" onClick={() => store.select(tensor)}>
                <bdi>{names[tensor] || "(unnamed)"}</bdi>
              </button>{" "}
            </>
          )
        }
      />
    </Fold>
  );
}

interface Props {
  findings: readonly FindingEntry[];
  label: string;
  lead?(finding: FindingEntry): ComponentChildren;
}

function Sentences({ findings, label, lead }: Props) {
  return (
    <ul class="qw-findings" aria-label={label}>
      {findings.map((finding) => {
        const { rule, severity, sentence, tensor } = finding;
        return (
          <li key={`${tensor} ${rule} ${sentence}`} class={`qw-finding-${severity}`}>
            <b role="img" aria-label={severity}>
              {MARKS[severity]}
            </b>
            <span>
              {lead?.(finding)}
              {sentence}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
