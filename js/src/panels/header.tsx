// What is open, and how far the reading has come.
import { bytes, compact, count } from "../model/format";
import type { Store } from "../model/store";

export function HeaderPanel({ store }: { store: Store }) {
  const manifest = store.manifest.value;
  const { root } = store;
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
            {count(tensors)} tensors · {compact(root.value.parameters)} parameters ·{" "}
            {bytes(root.value.nbytes)}
          </span>
        </>
      )}
      <ProgressPart store={store} />
    </header>
  );
}

function ProgressPart({ store }: { store: Store }) {
  const { nbytesDone, nbytesTotal, tensorsLeft } = store.progress.value;
  const presence = store.presence.value;
  if (tensorsLeft === 0) return null;
  if (presence === "offline")
    return (
      <span class="qw-progress qw-quiet">
        no kernel: {count(tensorsLeft)} tensors not stored here
      </span>
    );
  const share = nbytesTotal === 0 ? 0 : Math.min(nbytesDone / nbytesTotal, 1);
  return (
    <span class="qw-progress" aria-live="polite">
      {presence === "busy" && <span class="qw-quiet">kernel busy</span>}
      <progress max={1} value={share} aria-label="Tensors read" />
      <span class="qw-quiet">{Math.floor(share * 100)} %</span>
      {store.scanning.value ? (
        <button type="button" class="qw-link" onClick={() => store.stop()}>
          stop
        </button>
      ) : (
        <button type="button" class="qw-link" onClick={() => store.resume()}>
          resume
        </button>
      )}
    </span>
  );
}
