// What is open, and how far the reading has come.
import { bytes, compact, count } from "../model/format";
import type { Store } from "../model/store";

export function HeaderPanel({ store }: { store: Store }) {
  const manifest = store.manifest.value;
  const { root } = store.tree.value;
  if (!store.loaded.value) return <header class="qw-header" />;
  const tensors = manifest.tensors.name.length;
  return (
    <header class="qw-header">
      <b class="qw-source" title={manifest.source}>
        {manifest.source || "no model"}
      </b>
      {manifest.format !== "none" && (
        <>
          <span class="qw-chip">{manifest.format}</span>
          <span class="qw-quiet qw-summary">
            {count(manifest.layers.filter(({ path }) => path !== "").length)} layers ·{" "}
            {count(tensors)} tensors · {compact(root.parameters)} parameters · {bytes(root.nbytes)}
          </span>
        </>
      )}
      <ProgressPart store={store} />
    </header>
  );
}

function ProgressPart({ store }: { store: Store }) {
  const { scan } = store;
  const { nbytesDone, nbytesTotal, tensorsLeft, tensorsTotal } = scan.progress.value;
  const presence = store.presence.value;
  if (scan.trouble.value !== "")
    return (
      <span class="qw-progress qw-warning" role="alert" title={scan.trouble.value}>
        <span class="qw-summary">{scan.trouble.value}</span>
        <Action name="try again" onClick={() => scan.resume()} />
      </span>
    );
  if (presence === "offline") {
    const coarse = scan.coarse.value;
    return (
      <span class="qw-progress qw-quiet" aria-live="polite">
        no kernel: distributions of {tensorsLeft > 0 && `${count(tensorsTotal - tensorsLeft)} of `}
        {count(tensorsTotal)} tensors{coarse > 0 && `, ${count(coarse)} of them coarse`}
      </span>
    );
  }
  if (tensorsLeft === 0)
    return presence === "busy" ? <span class="qw-progress qw-quiet">kernel busy</span> : null;
  const share = nbytesTotal === 0 ? 0 : Math.min(nbytesDone / nbytesTotal, 1);
  return (
    <span class="qw-progress" aria-live="polite">
      {presence === "busy" && <span class="qw-quiet">kernel busy</span>}
      <progress max={1} value={share} aria-label="Tensors read" />
      <span class="qw-quiet">{Math.floor(share * 100)} %</span>
      <Action
        name={scan.running.value ? "stop" : "resume"}
        onClick={() => (scan.running.value ? scan.stop() : scan.resume())}
      />
    </span>
  );
}

function Action({ name, onClick }: { name: string; onClick(): void }) {
  return (
    <button type="button" class="qw-link" onClick={onClick}>
      {name}
    </button>
  );
}
