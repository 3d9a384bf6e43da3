// Tabs, by the ARIA pattern, made of the page's list of links. Each has an address of its own, such as
// /#machine. Without this script the page is one long page, and the list tells what stands on it.
"use strict";

{
  const list = document.getElementById("tabs");
  const tabs = [...list.querySelectorAll("a")];
  const part = (tab) => document.getElementById(tab.hash.slice(1));

  function choose(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      part(tab).hidden = tab !== chosen;
    }
    for (const link of document.querySelectorAll("a[hreflang]")) link.hash = chosen.hash;
  }

  function chooseByAddress() {
    choose(tabs.find((tab) => tab.hash === location.hash) ?? tabs[0]);
  }

  function go(tab) {
    history.replaceState(null, "", tab.hash); // the browser does not scroll to the part
    choose(tab);
    tab.focus();
  }

  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", part(tab).id);
    tab.parentElement.setAttribute("role", "presentation");
    part(tab).setAttribute("role", "tabpanel");
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      go(tab);
    });
  }
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(tabs.at(to % tabs.length));
  });
  window.addEventListener("hashchange", chooseByAddress);
  chooseByAddress();
}
