// The page's data: JSON as text, or compressed and in base64.
const readJson = (id) => {
  const element = byId(id);
  return element ? JSON.parse(element.textContent) : null;
};

const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

const count = (n) => n.toLocaleString("en-US");
const signed = (n, digits) => n.toFixed(digits).replace("-", "−");
