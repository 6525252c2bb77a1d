/** Tells this build of the front end from others; see js/build.mjs. */
declare const BUILD: string;

/** Styles as text. */
declare module "*.css" {
  const text: string;
  export default text;
}
