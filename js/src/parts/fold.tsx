// What opens under a line that names it; drawn only while it is open.
import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

interface Props {
  isOpen: Signal<boolean>;
  name: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}

export function Fold({ isOpen, name, class: more = "", children }: Props) {
  return (
    <details
      class={`qw-fold ${more}`}
      open={isOpen.value}
      onToggle={(event) => {
        isOpen.value = event.currentTarget.open;
      }}
    >
      <summary>{name}</summary>
      {isOpen.value && children}
    </details>
  );
}
