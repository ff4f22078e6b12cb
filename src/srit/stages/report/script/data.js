// The page's data: JSON as text, or compressed and in base64.
const readJson = (id) => {
  const element = byId(id);
  return element ? JSON.parse(element.textContent) : null;
};

const decoded = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

const unpack = async (id) => {
  const stream = new Blob([decoded(byId(id).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

const count = (n) => n.toLocaleString("en-US");
const signed = (n, digits) => n.toFixed(digits).replace("-", "−");
