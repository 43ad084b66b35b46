/* SPDX-License-Identifier: MIT
 * The style sheet of the demo's page: light and dark, desktop and phone.
 */
#include "apps/sotto/report.h"

static const char colours[] =
    ":root{color-scheme:light dark;"
    "--bg:#f6f5f1;--card:#fffefb;--ink:#1d1c1a;--soft:#6a665f;--line:#e2dfd6;"
    "--main:#2c5cc5;--second:#0f8a7e;--warm:#c9631b;--bad:#b3261e;"
    "--good:#1c7a48;--faint:#eceae3}"
    "@media (prefers-color-scheme:dark){:root{"
    "--bg:#151618;--card:#1e2023;--ink:#eceae6;--soft:#a09c95;--line:#33363b;"
    "--main:#7da5ff;--second:#4cc4b5;--warm:#f0a060;--bad:#ff8a80;"
    "--good:#6fd39c;--faint:#282b2f}}";

static const char frame[] =
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
    "-webkit-text-size-adjust:100%}"
    "main{max-width:1080px;margin:0 auto;padding:40px 20px 64px}"
    "h1{font-size:clamp(28px,5vw,44px);line-height:1.12;margin:0 0 12px;"
    "letter-spacing:-.02em;text-wrap:balance}"
    "h2{font-size:21px;margin:52px 0 6px;letter-spacing:-.01em}"
    "p{margin:0 0 16px;max-width:46em}"
    ".lede{font-size:18px;color:var(--soft)}"
    ".note{color:var(--soft);font-size:15px}"
    "svg{display:block;overflow:visible}"
    "svg text{fill:var(--soft);font:12px system-ui,-apple-system,'Segoe UI',"
    "Roboto,sans-serif}"
    ".num{font-variant-numeric:tabular-nums}"
    "footer{margin-top:56px;padding-top:16px;border-top:1px solid var(--line);"
    "color:var(--soft);font-size:14px}"
    "code{font:0.92em ui-monospace,Menlo,Consolas,monospace}";

static const char blocks[] =
    ".tiles{display:grid;gap:12px;margin:28px 0 0;"
    "grid-template-columns:repeat(auto-fit,minmax(168px,1fr))}"
    ".tile,.card{background:var(--card);border:1px solid var(--line);"
    "border-radius:12px}"
    ".tile{padding:14px 16px}"
    ".tile b{display:block;font-size:26px;line-height:1.25;"
    "letter-spacing:-.01em;font-variant-numeric:tabular-nums}"
    ".tile span{display:block;font-size:14px;color:var(--soft)}"
    ".flow{display:grid;gap:12px;grid-template-columns:repeat(5,1fr);"
    "margin:16px 0 0;padding:0;list-style:none;counter-reset:step}"
    ".flow li{position:relative;padding:12px 14px;background:var(--card);"
    "border:1px solid var(--line);border-top:3px solid var(--who);"
    "border-radius:10px;font-size:14px;color:var(--soft)}"
    ".flow b{display:block;font-size:17px;color:var(--ink)}"
    ".flow i{font-style:normal;color:var(--who);font-weight:600}"
    ".flow .time{color:var(--ink);font-variant-numeric:tabular-nums}"
    ".owner{--who:var(--warm)}.client{--who:var(--second)}"
    ".server{--who:var(--main)}"
    "@media (max-width:760px){.flow{grid-template-columns:1fr 1fr}"
    "main{padding-top:28px}h2{margin-top:40px}}";

static const char digits[] =
    ".digits{display:grid;gap:12px;margin-top:16px;"
    "grid-template-columns:repeat(auto-fill,minmax(148px,1fr))}"
    ".card{padding:12px}"
    ".card .pic{width:84px;height:84px;margin:0 auto 6px;color:var(--ink)}"
    ".card .cap{display:flex;justify-content:space-between;font-size:14px;"
    "margin-top:2px;color:var(--soft)}"
    ".ok{color:var(--good)}.no{color:var(--bad);font-weight:600}"
    ".wrong{border-color:var(--bad)}"
    ".bar{fill:var(--main);opacity:.45}.best{fill:var(--main);opacity:1}"
    ".mark{stroke:var(--warm);stroke-width:2}"
    ".axis{stroke:var(--line)}"
    ".key{display:flex;flex-wrap:wrap;gap:6px 18px;margin:8px 0 0;"
    "font-size:14px;color:var(--soft);padding:0;list-style:none}"
    ".key i{display:inline-block;width:14px;height:12px;border-radius:3px;"
    "margin-right:6px;vertical-align:-1px;background:var(--c)}"
    ".key i.line{height:3px;vertical-align:3px;border-radius:0}";

static const char charts[] =
    ".rows{margin-top:14px;border-top:1px solid var(--line)}"
    ".row{display:grid;grid-template-columns:236px 1fr;gap:4px 16px;"
    "align-items:center;padding:9px 0;border-bottom:1px solid var(--line)}"
    ".row .what{font-size:15px;line-height:1.3;overflow-wrap:anywhere}"
    ".row .what span{display:block;font-size:13px;color:var(--soft)}"
    "@media (max-width:620px){.row{grid-template-columns:1fr}"
    ".row .what span{display:inline;margin-left:8px}"
    ".row .what .num{display:block;margin-left:0}}"
    ".detail{margin-top:4px;font-size:13px;color:var(--soft);line-height:1.35}"
    "sup{line-height:0;font-size:.72em}"
    ".noise{fill:var(--warm)}.exact{fill:var(--main)}"
    ".value{fill:var(--second)}"
    ".room{fill:var(--faint);stroke:var(--line)}"
    ".hist{fill:var(--main)}.hist2{fill:var(--second)}.hist3{fill:var(--soft)}"
    ".limit{stroke:var(--warm);stroke-width:2;stroke-dasharray:5 3}"
    ".chart{background:var(--card);border:1px solid var(--line);"
    "border-radius:12px;padding:16px 20px 12px;margin-top:14px}"
    ".scroll{overflow-x:auto;margin-top:14px}"
    "table{border-collapse:collapse;width:100%;font-size:14px;"
    "font-variant-numeric:tabular-nums}"
    "th,td{padding:6px 12px 6px 0;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}"
    "th{font-weight:600;color:var(--soft)}"
    "td:first-child,th:first-child,td:nth-child(2),th:nth-child(2)"
    "{text-align:left}"
    ".facts td{text-align:left;white-space:normal;vertical-align:top}"
    ".facts td:first-child{color:var(--soft);width:11em}";

void report_style(text_out *out)
{
    text_put(out, "<style>\n");
    text_put(out, colours);
    text_put(out, "\n");
    text_put(out, frame);
    text_put(out, "\n");
    text_put(out, blocks);
    text_put(out, "\n");
    text_put(out, digits);
    text_put(out, "\n");
    text_put(out, charts);
    text_put(out, "\n</style>\n");
}
