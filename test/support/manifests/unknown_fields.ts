/**
 * Finds fields that a schema does not know, with a validator that does not look for them.
 *
 * The validators of kubernetes-models read every property that the type has and no other, and list the keys of an object
 * only where the type is a map. So the value is watched while it is validated: a field that nobody asked for is not part
 * of the API, which for the API server's strict validation is an error, and for its lenient one a setting that silently
 * does nothing.
 *
 * @module
 */

/** Anything with fields. */
type Fields = Record<string, unknown>;

/** What one object was asked for. */
interface Asked {
  readonly path: string;
  readonly value: Fields;
  readonly keys: Set<string>;
}

/**
 * Runs `validate` on a watched copy of the value.
 *
 * @param validate reads the value; throws when it is wrong
 * @returns JSON pointers of the fields that were not read, such as "/spec/hostNetwrok"
 */
export function unknownFields(value: Fields, validate: (watched: Fields) => void): readonly string[] {
  const asked: Asked[] = [];
  validate(watch(value, "", asked) as Fields);
  return asked.flatMap(({ path, value, keys }) =>
    Object.keys(value).filter((key) => !keys.has(key)).map((key) => `${path}/${escape(key)}`)
  );
}

function watch(value: unknown, path: string, asked: Asked[]): unknown {
  if (typeof value !== "object" || value === null) return value;
  const keys = new Set<string>();
  const children = new Map<string, unknown>();
  if (!Array.isArray(value)) asked.push({ path, value: value as Fields, keys });
  return new Proxy(value, {
    get(target, key) {
      const found: unknown = Reflect.get(target, key);
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) return found;
      keys.add(key);
      if (!children.has(key)) children.set(key, watch(found, `${path}/${escape(key)}`, asked));
      return children.get(key);
    },
    ownKeys(target) {
      for (const key of Object.keys(target)) keys.add(key);
      return Reflect.ownKeys(target);
    },
  });
}

/** RFC 6901: "~" and "/" in a key. */
function escape(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}
