// What elements are made of in the bundles.
export { Fragment, h } from "preact";
