import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { BUILD: '"tests"' },
  test: {
    environment: "happy-dom",
    include: ["js/tests/**/*.test.{ts,tsx}"],
  },
});
