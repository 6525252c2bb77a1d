// Numbers as people read them.

const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SIGNIFICANT_DIGITS = 6;
/** float64 holds no more. */
const MAX_DIGITS = 17;

/** A whole number with thousands separated: 12,345. */
export function count(number: number): string {
  return COUNT.format(number);
}

/** A count that is at most `error` off: 1,234, or ≈ 1,234 ± 5. */
export function estimate(number: number, error: number): string {
  return error === 0 ? count(number) : `≈ ${count(number)} ± ${count(error)}`;
}

/** A measured number that is at most `error` off: 41.2345, or ≈ 41.23 ± 0.06, or ≈ 41.2 where that is not known. */
export function approximate(number: number, error: number, digits = SIGNIFICANT_DIGITS): string {
  if (error === 0) return measure(number, digits);
  if (!Number.isFinite(error)) return `≈ ${measure(number, 3)}`;
  const last = digitOf(error);
  const shown = Math.round(Math.log10(digitOf(Math.abs(number) || last) / last)) + 1;
  const text = measure(number, Math.min(Math.max(shown, 1), digits));
  // What the text leaves out is part of the error.
  const most = error + Math.abs(number - Number(text));
  return `≈ ${text} ± ${measure(Math.ceil(most / digitOf(most)) * digitOf(most), 1)}`;
}

/** What a one at the first digit of a positive number stands for. */
function digitOf(number: number): number {
  return 10 ** Math.floor(Math.log10(number));
}

/** A count in four characters or so: 864, 9.2k, 1.3M. */
export function compact(number: number): string {
  const units = ["", "k", "M", "G", "T"];
  let size = number;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return unit === 0 || size >= 99.5
    ? `${Math.round(size)}${units[unit]}`
    : `${size.toFixed(1)}${units[unit]}`;
}

/** Bytes with decimal units: 864 B, 9.2 kB, 1.3 MB. */
export function bytes(number: number): string {
  const short = compact(number);
  const unit = short.at(-1) ?? "";
  return /[kMGT]/.test(unit) ? `${short.slice(0, -1)} ${unit}B` : `${short} B`;
}

/** A measured number, rounded to `digits` significant digits. */
export function measure(number: number | null, digits = SIGNIFICANT_DIGITS): string {
  if (number === null) return "–";
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e7 || size < 1e-4)
    return number.toExponential(Math.max(0, digits - 2)).replace(/\.?0*e\+?/, "e");
  return String(Number(number.toPrecision(digits)));
}

/** Significant digits that tell apart numbers a ten-thousandth of the way from `low` to `high`: 6, or more in a narrow band. */
export function digitsBetween(low: number, high: number): number {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const width = Math.abs(high - low);
  if (width === 0 || !Number.isFinite(size / width)) return SIGNIFICANT_DIGITS;
  const digits = Math.ceil(Math.log10(size / width)) + 4;
  return Math.min(Math.max(digits, SIGNIFICANT_DIGITS), MAX_DIGITS);
}

/** Decibels with two decimals, so that they stand in line: 47.65, ∞, −∞, or – for NaN. */
export function decibels(number: number): string {
  if (Number.isFinite(number)) return number.toFixed(2);
  return number > 0 ? "∞" : number < 0 ? "−∞" : "–";
}

/** A share of the whole: 68.3 %; digits grow for small shares. */
export function percent(share: number): string {
  const hundredths = share * 100;
  if (hundredths === 0 || hundredths === 100) return `${hundredths} %`;
  const digits = hundredths >= 10 ? 1 : hundredths >= 0.1 ? 2 : 3;
  const text = hundredths.toFixed(digits);
  return Number(text) === 0 ? "< 0.001 %" : `${text} %`;
}

/** A shape: 16 × 3 × 3 × 3, or scalar. */
export function shape(lengths: readonly number[]): string {
  return lengths.length === 0 ? "scalar" : lengths.join("×");
}
