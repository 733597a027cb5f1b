"""How the season's report looks: dark on light, on a desk, on a phone of 390 px, on A4."""

from genomic_platform.results.svg import LIGHT_COLOURS, MARKS_STYLE

_PAGE = """
:root{--alert:#8f3412;--alertback:#fbeee6;--good:#22573d;--goodback:#e8f3ed;--soft:#4d5c6b}
*{box-sizing:border-box}html{color-scheme:light;-webkit-text-size-adjust:100%}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--page);
max-width:64rem;margin:0 auto;padding:2rem 1.5rem 3rem;overflow-wrap:break-word}
h1{font-size:1.75rem;line-height:1.2;margin:0;font-weight:650}h1 span{font-weight:400;color:var(--soft)}
h2{font-size:1.25rem;line-height:1.3;margin:2.6rem 0 .7rem;padding-top:.9rem;border-top:1px solid var(--line)}
h1,h3{overflow-wrap:anywhere}h3{font-size:1.02rem;margin:1.5rem 0 .35rem}p{margin:.45rem 0}
.sub,.more,.absent,figcaption,footer{color:var(--soft)}.sub{margin:.25rem 0}
.more,.absent,footer{font-size:.9rem}.absent{font-style:italic}
.do{background:var(--panel);border:1px solid var(--line);border-left:4px solid var(--a);border-radius:.4rem;
padding:.9rem 1.15rem;margin-top:1.4rem}.do h2{margin:0 0 .3rem;padding:0;border:0}.do p{margin:0;max-width:50rem}
p,li{max-width:50rem}ul{margin:.3rem 0 .6rem;padding-left:1.2rem}li{margin:.15rem 0}
table{border-collapse:collapse;width:100%;margin:.5rem 0 .7rem;font-size:.92rem;line-height:1.4}
th,td{text-align:left;vertical-align:top;padding:.34rem .9rem .34rem 0;border-bottom:1px solid var(--faint)}
thead th{color:var(--soft);font-weight:600;font-size:.85rem;border-bottom-color:var(--line);vertical-align:bottom}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n,.name,.badge{white-space:nowrap}
td.id{font-weight:600}td.id small{display:block;font-weight:400;color:var(--soft);font-size:.82rem;line-height:1.35}
td .pm{color:var(--soft)}
.long{display:inline-block;min-width:5.5rem;overflow-wrap:anywhere}.scroll{overflow-x:auto}
th:last-child,td:last-child{padding-right:0}
tr.noted td{border-bottom:0;padding-bottom:.05rem}tr.note td{color:var(--soft);font-size:.82rem;line-height:1.35;
padding-top:0}.ranked tr.note td{padding-left:2.9rem}.less{color:var(--alert)}
table.slim{width:auto;min-width:min(100%,26rem)}table.slim th,table.slim td{padding-right:1.4rem}
table.slim th:last-child,table.slim td:last-child{padding-right:0}
td ul{padding-left:1.1rem;margin:.15rem 0;color:var(--soft);font-size:.86rem}
code{font-family:ui-monospace,"SF Mono",Consolas,monospace;font-size:.86em;background:var(--faint);
padding:.08em .3em;border-radius:3px}
.badge{display:inline-block;font-size:.82rem;line-height:1.35;font-weight:600;padding:.1rem .5rem;border-radius:.8rem;
background:var(--faint);color:var(--ink)}.badge.alert{background:var(--alertback);color:var(--alert)}
.badge.good{background:var(--goodback);color:var(--good)}
.figures{display:grid;gap:1.9rem 2.2rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,25rem),1fr));
margin-top:1rem}.figures h3{margin:0 0 .15rem}figure p{font-size:.92rem;margin:.3rem 0}
svg text{font-size:13px}.key{font-size:.85rem}.key i.band{opacity:.5}
svg rect.band{fill:var(--muted);fill-opacity:.3;opacity:1;stroke:var(--muted)}
dl{margin:.4rem 0;max-width:52rem}dt{font-weight:600;margin-top:.55rem}dd{margin:0}
footer{margin-top:2.6rem;padding-top:.9rem;border-top:1px solid var(--line)}footer table{font-size:.85rem}
"""
_PHONE = """
@media screen and (max-width:640px){body{padding:1.2rem 1rem 2rem}h1{font-size:1.45rem}h2{margin-top:2rem}
.do{padding:.75rem .9rem}.figures{gap:1.6rem}
table.cards thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table.cards,table.cards tbody{display:block}
table.cards tr{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.25rem 1rem;padding:.65rem 0;
border-bottom:1px solid var(--line);position:relative}
table.cards td{display:block;text-align:left;padding:0;border:0;white-space:normal}
table.cards td::before{content:attr(data-label);display:block;color:var(--soft);font-size:.8rem;line-height:1.3}
table.cards td.id,table.cards td.w{grid-column:1/-1}table.cards td.id{font-size:1.02rem}
table.cards td.id::before,table.cards tr.note td::before{display:none}
table.cards tr.noted{border-bottom:0;padding-bottom:.15rem}
table.cards tr.note{display:block;padding:0 0 .65rem}
table.ranked td.rank{position:absolute;left:0;top:.7rem;color:var(--soft)}table.ranked td.rank::before{display:none}
table.ranked td.w::before{display:none}table.ranked td.id{padding-left:2.2rem}.badge,td .name{white-space:normal}
table.indexed td.id{grid-column:1}table.indexed td.ix::before{content:"index ";display:inline;font-size:1em}
table.indexed td.ix{padding-top:.1rem}.ranked tr.note td{padding-left:0}
table.slim th,table.slim td{padding-right:.7rem}}
"""
_PRINT = """
@page{size:A4;margin:15mm 14mm}
@media print{html{font-size:9.5pt}body{font-size:1rem;line-height:1.42;max-width:none;padding:0}h2{margin-top:1.5rem}
.scroll{overflow:visible}.figures h3{margin-top:0}
thead{display:table-header-group}tr,figure,.do,li,dd{break-inside:avoid}
h2,h3,dt{break-after:avoid}p{orphans:3;widows:3}.figures{grid-template-columns:1fr 1fr;gap:1rem 1.4rem}
th,td{padding:.2rem .6rem .2rem 0}.do,.badge,code,.key i,svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
STYLE = LIGHT_COLOURS + MARKS_STYLE + _PAGE + _PHONE + _PRINT
