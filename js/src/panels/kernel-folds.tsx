// The folds whose content comes from the kernel.
import type { ComponentChildren } from "preact";
import type { Place } from "../model/from-kernel";
import type { Store } from "../model/store";
import { Fold } from "../parts/fold";

export function ExplanationFold({ store }: { store: Store }) {
  const isRead =
    store.sketch.value && store.manifest.value.tensors.parameters[store.selected.value];
  return isRead ? <KernelFold store={store} place="explanation" name="One value" /> : null;
}

export function ComparisonFold({ store }: { store: Store }) {
  const { reference } = store.manifest.value;
  if (reference === "") return null;
  const name = (
    <>
      Compared with <bdi>{reference}</bdi>
    </>
  );
  return <KernelFold store={store} place="comparison" name={name} />;
}

export function WhatIfFold({ store }: { store: Store }) {
  return store.histogram.value && <KernelFold store={store} place="what-if" name="What if" />;
}

export function ChannelsFold({ store }: { store: Store }) {
  const tensor = store.selected.value;
  const { shape, parameters } = store.manifest.value.tensors;
  if (!shape[tensor]?.length || !parameters[tensor] || store.scan.troubleOf(tensor) !== "")
    return null;
  return <KernelFold store={store} place="channels" name="Channels" />;
}

interface Props {
  store: Store;
  place: Place;
  name: ComponentChildren;
}

function KernelFold({ store, place, name }: Props) {
  const { panels, trouble, isOpen } = store.fromKernel;
  const sentence = trouble.value
    ? `This panel could not be loaded: ${trouble.value}.`
    : store.presence.value === "offline" &&
      "This needs the running notebook: run the cell to see it.";
  const content = panels.value?.draw(place) as ComponentChildren;
  return (
    <Fold isOpen={isOpen[place]} name={name} class={`qw-statistics qw-${place}`}>
      {content ? (
        content
      ) : sentence ? (
        <p class="qw-quiet">{sentence}</p>
      ) : (
        <div class="qw-nothing qw-skeleton" role="img" aria-label="Loading the panel" />
      )}
    </Fold>
  );
}
