// A number between two others, dragged.

interface Props {
  name: string;
  min: number;
  max: number;
  step?: number;
  value: number;
  /** What the value means, if not itself. */
  shown?: string;
  onSlide(value: number): void;
}

export function Slider({ name, min, max, step = 1, value, shown = String(value), onSlide }: Props) {
  return (
    <label class="qw-bins">
      <span>{name}</span>
      <input
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={shown}
        onInput={(event) => onSlide(event.currentTarget.valueAsNumber)}
      />
      <output>{shown}</output>
    </label>
  );
}
