// What the model holds: a search, and under it the tree of the layers or the table of all tensors.
import { useRef } from "preact/hooks";
import type { Store } from "../model/store";
import { Choice } from "../parts/choice";
import { TablePanel } from "./table";
import { TreePanel } from "./tree";

export function ExplorerPanel({ store }: { store: Store }) {
  /** Leads from the search on to the rows. */
  const enter = useRef(() => {});
  const isTable = store.listing.value === "table";
  return (
    <section
      class={`qw-tree${isTable ? " qw-table" : ""}`}
      aria-label={isTable ? "Tensors" : "Layers"}
    >
      <div class="qw-search">
        <Choice
          label="Layers or table"
          options={
            [
              ["layers", "Layers"],
              ["table", "Table"],
            ] as const
          }
          chosen={store.listing.value}
          onChoose={(chosen) => {
            store.listing.value = chosen;
          }}
        />
        <input
          type="search"
          placeholder="Search name, type or shape"
          aria-label="Search by name, type or shape"
          spellcheck={false}
          value={store.query.value}
          onInput={(event) => {
            store.query.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key === "Escape" && store.query.value !== "") store.query.value = "";
            else if (event.key === "ArrowDown") enter.current();
            else return;
            event.preventDefault();
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </div>
      {isTable ? (
        <TablePanel store={store} enter={enter} />
      ) : (
        <TreePanel store={store} enter={enter} />
      )}
    </section>
  );
}
