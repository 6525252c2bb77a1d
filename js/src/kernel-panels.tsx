// The second bundle: what the kernel sends to the page that asks for it. It takes what it shares from core.ts.
import { computed } from "@preact/signals";
import type { Link } from "./link";
import { ChannelChoice } from "./model/channels";
import { Comparing, overlayOf } from "./model/comparing";
import { ExplanationChoice } from "./model/explanation";
import type { Place } from "./model/from-kernel";
import type { Range } from "./model/range";
import { Shared } from "./model/shared";
import type { Store } from "./model/store";
import { ChannelsPanel } from "./panels/channels";
import { ComparisonPanel } from "./panels/comparison";
import { ExplanationPanel } from "./panels/explanation";
import { SketchPanels } from "./sketch-panels";

/** The panels of one store, and what they know. */
export class Connected extends SketchPanels {
  readonly comparing: Comparing;
  readonly channels: ChannelChoice;
  readonly explanation: ExplanationChoice;
  override readonly version: Comparing["version"];
  override readonly isOverlaid: Comparing["isOverlaid"];
  override readonly overlay = computed(() => {
    const { comparison } = this.comparing.shown.value;
    return comparison ? (edges: Float64Array) => overlayOf(comparison, edges) : null;
  });

  private readonly channel: Shared;

  constructor(store: Store, link: Link) {
    super(store, link);
    const tensor = computed(() => store.scan.original(store.selected.value));
    const shape = computed(() => store.manifest.value.tensors.shape[store.selected.value] ?? []);
    this.comparing = new Comparing(
      link,
      computed(() => ({
        reference: store.manifest.value.reference,
        tensor: tensor.value,
        isRead: store.scan.progress.value.tensorsLeft === 0,
      })),
    );
    this.channels = new ChannelChoice(
      link,
      computed(() => ({
        tensor: tensor.value,
        space: store.shownSpace.value,
        shape: shape.value,
        sketch: store.sketch.value,
        scheme: store.schemeOf(store.selected.value),
      })),
      computed(() => this.comparing.shown.value.comparison ?? null),
      store.fromKernel.isOpen.channels,
    );
    this.explanation = new ExplanationChoice(
      link,
      computed(() => ({
        tensor: store.sketch.value ? tensor.value : -1,
        shape: shape.value,
        space: store.shownSpace.value,
      })),
      store.fromKernel.isOpen.explanation,
    );
    this.channel = new Shared(
      link,
      "channel",
      () => this.channels.told,
      (told) => this.channels.adopt(told),
    );
    this.version = this.comparing.version;
    this.isOverlaid = this.comparing.isOverlaid;
  }

  override draw(place: Place) {
    const { store, comparing, explanation, channels: choice } = this;
    if (place === "explanation")
      return <ExplanationPanel store={store} explanation={explanation} />;
    if (place === "comparison") return <ComparisonPanel store={store} comparing={comparing} />;
    if (place === "channels") return <ChannelsPanel store={store} choice={choice} />;
    return super.draw(place);
  }

  override figuresOf(tensor: number) {
    return this.comparing.knownOf(tensor).figures;
  }

  override isAwaited(tensor: number): boolean {
    return this.comparing.isAwaited(tensor);
  }

  override explainOneIn(range: Range): void {
    void this.explanation.findIn(range);
  }

  override adopt(): void {
    super.adopt();
    this.channel.adopt();
  }

  override forgetTensor(): void {
    super.forgetTensor();
    this.channels.forget();
    this.explanation.forget();
  }

  override forgetModel(): void {
    super.forgetModel();
    this.comparing.forget();
  }

  override dispose(): void {
    super.dispose();
    this.channel.dispose();
    this.explanation.dispose();
    this.channels.dispose();
    this.comparing.dispose();
  }
}

export function connect(store: Store, link: Link): Connected {
  const panels = new Connected(store, link);
  panels.adopt();
  return panels;
}
