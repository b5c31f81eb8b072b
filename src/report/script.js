"use strict";
// Nice to have only: the page is complete without it. Values under the pointer at once (and on touch), tables that sort.
(function () {
  var tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true");
  document.body.appendChild(tip);
  function titleOf(node) {
    for (; node && node.nodeName !== "svg" && node.nodeType === 1; node = node.parentNode) {
      for (var child = node.firstElementChild; child; child = child.nextElementSibling) {
        if (child.nodeName === "title") return child.textContent;
      }
    }
    return "";
  }
  function show(event) {
    var spoken = event.target.closest && event.target.closest("[data-tip]");
    var text = spoken ? spoken.getAttribute("data-tip") : event.target.closest && event.target.closest("svg") ? titleOf(event.target) : "";
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    var x = Math.max(8, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8));
    var y = event.clientY + 18;
    if (y + tip.offsetHeight > innerHeight) y = event.clientY - tip.offsetHeight - 12;
    tip.style.left = x + "px"; tip.style.top = y + "px";
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", function () { tip.hidden = true; }, { passive: true });
  function keyOf(row, column) {
    var cell = row.cells[column], main = cell && (cell.querySelector(".main, .badge") || cell);
    return main ? main.textContent.trim() : "";
  }
  function numberOf(text) { return parseFloat(text.replace(/\u2212/g, "-").replace(/[\s\u202f<>]/g, "")); }
  document.querySelectorAll("table").forEach(function (table) {
    var body = table.tBodies[0];
    if (!body || body.rows.length < 3 || table.querySelector("tr.group")) return;
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      head.setAttribute("aria-sort", "none"); head.tabIndex = 0; head.title = "Sort";
      function sort() {
        var up = head.getAttribute("aria-sort") !== "ascending";
        table.querySelectorAll("thead th").forEach(function (other) { other.setAttribute("aria-sort", "none"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        Array.from(body.rows).sort(function (a, b) {
          var x = keyOf(a, column), y = keyOf(b, column), p = numberOf(x), q = numberOf(y);
          var order = isNaN(p) || isNaN(q) ? (isNaN(p) ? 1 : 0) - (isNaN(q) ? 1 : 0) || x.localeCompare(y) : p - q;
          return up ? order : -order;
        }).forEach(function (row) { body.appendChild(row); });
      }
      head.addEventListener("click", sort);
      head.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
      });
    });
  });
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (details) { details.open = true; });
  });
})();
