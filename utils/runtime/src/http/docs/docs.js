// Shows an OpenAPI document: operations by tag, parameters, answers, schemas; lets GET be tried.
"use strict";

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child != null));
  return element;
};

const nameOf = (reference) => reference.split("/").pop();

// A schema in a few words; names of others are links.
const type = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return make("a", { href: `#${nameOf(schema.$ref)}` }, nameOf(schema.$ref));
  const choices = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (choices) return make("span", {}, ...choices.flatMap((choice, i) => [i ? " | " : "", type(choice)]));
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.items) return make("span", {}, "[", type(schema.items), "]");
  return [schema.type].flat().filter(Boolean).join(" | ") || "any";
};

const table = (head, rows) =>
  make("table", {}, make("tr", {}, ...head.map((text) => make("th", {}, text))),
    ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell ?? "")))));

const attempt = (path, parameters) => {
  const inputs = new Map(parameters.map((parameter) => [parameter, make("input", { placeholder: parameter.name, ariaLabel: parameter.name })]));
  const output = make("pre", { hidden: true });
  const button = make("button", { type: "button" }, "Try it");
  button.addEventListener("click", async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    if (query.size) url += `?${query}`;
    output.hidden = false;
    output.textContent = `GET ${url} …`;
    try {
      const answer = await fetch(url);
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
      output.textContent = `GET ${url} → ${answer.status}\n${shown}`;
    } catch (error) {
      output.textContent = `GET ${url}: ${error}`;
    }
  });
  return make("div", {}, ...inputs.values(), " ", button, output);
};

const operation = (path, method, about) => {
  const parameters = about.parameters ?? [];
  const isStream = Object.values(about.responses ?? {}).some((answer) => answer.content?.["text/event-stream"]);
  const body = make("div", {},
    about.description ? make("p", {}, about.description) : null,
    parameters.length ? table(["Parameter", "In", "Type", ""], parameters.map((parameter) =>
      [make("code", {}, parameter.name), parameter.in, type(parameter.schema), parameter.description])) : null,
    table(["Status", "Answer", ""], Object.entries(about.responses ?? {}).map(([status, answer]) =>
      [status, type(Object.values(answer.content ?? {})[0]?.schema), answer.description])),
    about.security ? make("p", {}, "Needs the bearer token.") : null,
    method === "get" && !isStream ? attempt(path, parameters) : null);
  return make("details", {},
    make("summary", {}, make("span", { className: "method" }, method.toUpperCase()), make("code", {}, path), about.summary ? ` — ${about.summary}` : ""),
    body);
};

const schema = ([name, about]) => {
  const required = new Set(about.required ?? []);
  const fields = Object.entries(about.properties ?? {});
  return make("details", { id: name }, make("summary", {}, make("code", {}, name), about.description ? ` — ${about.description}` : ""),
    make("div", {}, fields.length
      ? table(["Field", "Type", ""], fields.map(([field, one]) => [make("code", {}, required.has(field) ? field : `${field}?`), type(one), one.description]))
      : type(about)));
};

const show = (about) => {
  const byTag = new Map();
  for (const [path, methods] of Object.entries(about.paths)) {
    for (const [method, one] of Object.entries(methods)) {
      const tag = one.tags?.[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), operation(path, method, one)]);
    }
  }
  document.title = about.info.title;
  document.getElementById("main").replaceChildren(
    make("h1", {}, about.info.title),
    make("p", {}, `Version ${about.info.version}. The same for programs: `, make("a", { href: "/openapi.json" }, "/openapi.json")),
    about.info.description ? make("p", {}, about.info.description) : "",
    ...[...byTag].flatMap(([tag, operations]) => [make("h2", {}, tag), ...operations]),
    make("h2", {}, "Schemas"), ...Object.entries(about.components?.schemas ?? {}).map(schema));
  const open = () => { const target = document.getElementById(location.hash.slice(1)); if (target) target.open = true; };
  addEventListener("hashchange", open);
  open();
};

fetch("/openapi.json").then((answer) => answer.json()).then(show).catch((error) => {
  document.getElementById("main").textContent = `The document can not be shown: ${error}`;
});
