/** Has Python say what the tests compare with. `PYTHON`: an interpreter with the dev tools. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export default function setup(): void {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const python = process.env["PYTHON"] ?? `${root}/.venv/bin/python`;
  execFileSync(python, ["client/tests/expected.py", "client/tests/expected"], {
    cwd: root,
    env: { ...process.env, PYTHONPATH: root },
    stdio: ["ignore", "inherit", "inherit"],
  });
}
