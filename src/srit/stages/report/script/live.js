// A page of a run that goes on: `srit watch` is asked for news, and what is new is shown.
const live = byId("live");
setInterval(async () => {
  try {
    const news = await (await fetch("/state")).json();
    live.textContent = news.line;
    if (news.version !== live.dataset.version) location.reload();
  } catch {
    live.textContent = "srit watch has ended: this page shows the run as it was.";
  }
}, 2000);
