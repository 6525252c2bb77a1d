// Two or three options side by side, one of them chosen.

interface Props<Option extends string> {
  label: string;
  options: readonly (readonly [Option, string])[];
  chosen: Option;
  onChoose(option: Option): void;
}

export function Choice<Option extends string>({ label, options, chosen, onChoose }: Props<Option>) {
  return (
    <fieldset class="qw-choice" aria-label={label}>
      {options.map(([option, text]) => (
        <button
          key={option}
          type="button"
          aria-pressed={option === chosen}
          onClick={() => onChoose(option)}
        >
          {text}
        </button>
      ))}
    </fieldset>
  );
}
