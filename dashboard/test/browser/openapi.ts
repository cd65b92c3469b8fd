/** Whether the types in `src/api.ts` say what the pool's OpenAPI document says. */

import ts from 'typescript';

/** A schema of the document, as far as it matters here. */
interface Schema {
  $ref?: string;
  type?: string | string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  enum?: (string | null)[];
}

interface Document {
  paths: Record<string, { get?: { responses: Record<string, { content?: Record<string, { schema: Schema }> }> } }>;
  components: { schemas: Record<string, Schema> };
}

/** What the dashboard reads, and the type it takes it for. */
export const READ: [string, string][] = [
  ['/api/v1/pool', 'Pool'],
  ['/api/v1/history', 'History'],
  ['/api/v1/accounts', 'Page<AccountSummary>'],
  ['/api/v1/accounts/{account}', 'Account'],
  ['/api/v1/blocks', 'Page<Block>'],
  ['/api/v1/template', 'Template | null'],
  ['/api/v1/nodes', 'Node[]'],
  ['/api/v1/connections', 'Page<Connection>'],
];

/** Where type and document differ, one line each. */
export function differences(document: Document): string[] {
  const source = `${ts.sys.getCurrentDirectory()}/src/of-the-api.ts`;
  const text = `import type * as api from './api';\n${READ.map(([, type], at) => `export type Read${at} = ${type.replace(/\b[A-Z]\w+/g, 'api.$&')};`).join('\n')}`;
  const options: ts.CompilerOptions = { strict: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022 };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (name) => name === source || fileExists(name);
  host.readFile = (name) => (name === source ? text : readFile(name));
  host.getSourceFile = (name, ...rest) => (name === source ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest));
  const program = ts.createProgram([source], options, host);
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(source);
  const module = file && checker.getSymbolAtLocation(file);
  if (!module) throw new Error('the types can not be read');
  const types = new Map(checker.getExportsOfModule(module).map((symbol) => [symbol.name, checker.getDeclaredTypeOfSymbol(symbol)]));
  const comparison = new Comparison(document, checker);
  READ.forEach(([path], at) => {
    const schema = document.paths[path]?.get?.responses['200']?.content?.['application/json']?.schema;
    const type = types.get(`Read${at}`);
    if (!schema || !type) comparison.found.push(`GET ${path}: no description`);
    else comparison.compare(`GET ${path}`, type, schema);
  });
  return comparison.found;
}

class Comparison {
  readonly found: string[] = [];

  constructor(
    readonly document: Document,
    readonly checker: ts.TypeChecker,
  ) {}

  /** The alternatives of a schema, without references. */
  #alternatives(schema: Schema): Schema[] {
    if (schema.$ref) {
      const target = this.document.components.schemas[schema.$ref.replace('#/components/schemas/', '')];
      return target ? this.#alternatives(target) : [];
    }
    const several = schema.oneOf ?? schema.anyOf;
    if (several) return several.flatMap((one) => this.#alternatives(one));
    if (schema.allOf) {
      const parts = schema.allOf.flatMap((one) => this.#alternatives(one));
      return [{ type: 'object', properties: Object.assign({}, ...parts.map((one) => one.properties)), required: parts.flatMap((one) => one.required ?? []) }];
    }
    if (Array.isArray(schema.type)) return schema.type.map((type) => ({ ...schema, type }));
    return [schema];
  }

  compare(where: string, type: ts.Type, schema: Schema): void {
    const types = type.isUnion() ? type.types : [type];
    const schemas = this.#alternatives(schema);
    const isNull = types.some((one) => (one.flags & ts.TypeFlags.Null) !== 0);
    const mayBeNull = schemas.some((one) => one.type === 'null');
    if (isNull !== mayBeNull) this.found.push(`${where}: ${mayBeNull ? 'may be null' : 'is never null'} in the document`);
    const some = types.filter((one) => (one.flags & ts.TypeFlags.Null) === 0);
    for (const one of schemas.filter((each) => each.type !== 'null')) this.#compareOne(where, some, one);
  }

  #compareOne(where: string, types: ts.Type[], schema: Schema): void {
    const has = (flags: ts.TypeFlags) => types.some((one) => (one.flags & flags) !== 0);
    const complain = () => this.found.push(`${where}: ${schema.type ?? 'something'} in the document, here ${types.map((one) => this.checker.typeToString(one)).join(' | ')}`);
    switch (schema.type) {
      case 'number':
      case 'integer':
        if (!has(ts.TypeFlags.Number)) complain();
        break;
      case 'boolean':
        if (!has(ts.TypeFlags.BooleanLike)) complain();
        break;
      case 'string': {
        if (has(ts.TypeFlags.String)) break;
        const known = types.filter((one) => one.isStringLiteral()).map((one) => (one as ts.StringLiteralType).value);
        if (known.length === 0 || !schema.enum) complain();
        const unknown = (schema.enum ?? []).filter((value) => value !== null && !known.includes(value));
        if (unknown.length > 0) this.found.push(`${where}: may be ${unknown.join(', ')} in the document`);
        break;
      }
      case 'array': {
        const element = types.map((one) => this.checker.getIndexTypeOfType(one, ts.IndexKind.Number)).find((one) => one !== undefined);
        if (!element || !schema.items) complain();
        else this.compare(`${where}[]`, element, schema.items);
        break;
      }
      default: {
        const [only] = types;
        if (types.length !== 1 || !only || !schema.properties) return void complain();
        for (const property of this.checker.getPropertiesOfType(only)) {
          const described = schema.properties[property.name];
          const name = `${where}.${property.name}`;
          if (!described) this.found.push(`${name}: not in the document`);
          // What may be null is left out of `required` where Rust has an Option; it is sent as null all the same.
          else if (!schema.required?.includes(property.name) && !this.#alternatives(described).some((one) => one.type === 'null')) {
            this.found.push(`${name}: may be absent in the document`);
          } else this.compare(name, this.checker.getTypeOfSymbol(property), described);
        }
      }
    }
  }
}
