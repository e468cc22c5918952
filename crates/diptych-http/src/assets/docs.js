// Renders openapi.json and sends requests by hand. Plain script, no libraries, nothing from elsewhere.
"use strict";

const base = new URL("openapi.json", document.baseURI).pathname.replace(/\/openapi\.json$/, "");
let api = {};

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function resolve(node) {
  for (let hops = 0; node && node.$ref && hops < 20; hops += 1) {
    node = node.$ref.slice(2).split("/").reduce((at, part) => at && at[part.replace(/~1/g, "/").replace(/~0/g, "~")], api);
  }
  return node || {};
}

// An example body: every required property, filled by its type.
function example(schema, depth = 0) {
  schema = resolve(schema);
  if (depth > 6) return null;
  if (schema.examples) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const branch = schema.allOf || schema.anyOf || schema.oneOf;
  if (branch && !schema.properties) return example(branch[0], depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object" || schema.properties) {
    const made = {};
    for (const [name, property] of Object.entries(schema.properties || {})) {
      if ((schema.required || []).includes(name)) made[name] = example(property, depth + 1);
    }
    return made;
  }
  if (type === "array") return schema.items ? [example(schema.items, depth + 1)] : [];
  if (type === "integer" || type === "number") return schema.minimum || 0;
  if (type === "boolean") return false;
  if (schema.format === "date-time") return new Date(0).toISOString();
  return type === "string" ? "text" : null;
}

// The shape of a schema in indented words.
function shape(schema, indent = "", seen = []) {
  const name = schema && schema.$ref;
  if (name && seen.includes(name)) return name.split("/").pop();
  const inside = name ? seen.concat(name) : seen;
  schema = resolve(schema);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const branch = schema.anyOf || schema.oneOf;
  if (branch) return branch.map((one) => shape(one, indent, inside)).join(" | ");
  if (schema.allOf) return schema.allOf.map((one) => shape(one, indent, inside)).join(" & ");
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type;
  if (schema.properties) {
    const deeper = indent + "  ";
    const lines = Object.entries(schema.properties).map(([key, property]) => {
      const optional = (schema.required || []).includes(key) ? "" : "?";
      return `${deeper}${key}${optional}: ${shape(property, deeper, inside)}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  if (type === "array") return `[${shape(schema.items || {}, indent, inside)}]`;
  return (type || "any") + (schema.format ? ` (${schema.format})` : "");
}

function field(parameter) {
  const schema = resolve(parameter.schema);
  const items = schema.type === "array" ? resolve(schema.items) : schema;
  const attributes = { name: `${parameter.in}:${parameter.name}`, required: parameter.required };
  let input;
  if (items.enum) {
    const options = items.enum.map((one) => element("option", { value: one }, one));
    input = element("select", attributes, element("option", { value: "" }, "—"), ...options);
  } else {
    input = element("input", { ...attributes, type: "text", autocomplete: "off", placeholder: schema.default });
  }
  const note = parameter.description && element("small", { class: "soft" }, parameter.description);
  return element("label", {}, element("code", {}, parameter.name), input, note);
}

async function send(form, method, path, output) {
  let address = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll("[name]")) {
    const [place, name] = [input.name.slice(0, input.name.indexOf(":")), input.name.slice(input.name.indexOf(":") + 1)];
    if (input.value === "") continue;
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
    if (place === "query") query.append(name, input.value);
    if (place === "header") headers[name] = input.value;
  }
  const body = form.querySelector("textarea");
  const options = { method: method.toUpperCase(), headers };
  if (body && body.value.trim() !== "") {
    options.body = body.value;
    headers["Content-Type"] = "application/json";
  }
  const text = query.toString();
  const started = performance.now();
  output.textContent = "…";
  try {
    const response = await fetch(base + address + (text ? `?${text}` : ""), options);
    const took = Math.round(performance.now() - started);
    const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    let content = await response.text();
    try { content = JSON.stringify(JSON.parse(content), null, 2); } catch { /* not JSON: shown as it came */ }
    output.textContent = `${response.status} ${response.statusText} in ${took} ms\n${head}\n\n${content}`;
  } catch (error) {
    output.textContent = `no answer: ${error.message}`;
  }
}

function responses(operation) {
  const list = element("ul", {});
  for (const [status, held] of Object.entries(operation.responses)) {
    const response = resolve(held);
    const content = Object.values(response.content || {})[0];
    const item = element("li", {}, element("strong", {}, status), ` ${response.description || ""}`);
    if (content && status.startsWith("2")) item.append(element("pre", {}, element("code", {}, shape(content.schema))));
    list.append(item);
  }
  return list;
}

function render(path, method, operation) {
  const parameters = (operation.parameters || []).map(resolve);
  const output = element("pre", { class: "answer", role: "status", hidden: true });
  const form = element("form", {});
  if (parameters.length) {
    form.append(element("fieldset", {}, element("legend", {}, "Parameters"), ...parameters.map(field)));
  }
  const body = operation.requestBody && Object.values(operation.requestBody.content)[0].schema;
  if (body) {
    const text = JSON.stringify(example(body), null, 2);
    const area = element("textarea", { "aria-label": "Body", spellcheck: "false" }, text);
    const known = element("details", {}, element("summary", {}, "Shape"), element("pre", {}, shape(body)));
    form.append(element("fieldset", {}, element("legend", {}, "Body"), area, known));
  }
  form.append(element("button", { type: "submit" }, "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    output.hidden = false;
    send(form, method, path, output);
  });
  const head = element(
    "summary", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path),
    element("span", { class: "soft" }, operation.summary || ""),
  );
  const inside = element("div", {}, form, output, element("h3", {}, "Answers"), responses(operation));
  return element("details", { class: "operation" }, head, inside);
}

async function start() {
  const main = document.getElementById("operations");
  try {
    api = await (await fetch(`${base}/openapi.json`)).json();
  } catch (error) {
    main.replaceChildren(element("p", { class: "bad" }, `The description cannot be read: ${error.message}`));
    return;
  }
  document.title = `${api.info.title}: documentation`;
  document.getElementById("title").textContent = api.info.title;
  document.getElementById("version").textContent = `version ${api.info.version}`;
  document.getElementById("description").textContent = api.info.description || "";
  main.replaceChildren();
  for (const tag of api.tags) {
    const section = element("section", {}, element("h2", {}, tag.name), element("p", { class: "soft" }, tag.description || ""));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(tag.name)) section.append(render(path, method, operation));
      }
    }
    main.append(section);
  }
}

start();
