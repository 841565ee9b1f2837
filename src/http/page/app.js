// Shows what /events sends, or what /api/snapshot has while there are too many viewers. Every text
// is set as text, never as markup: names of files and peers come from strangers.
'use strict';
(() => {
  const STALE_MS = 2500;
  const KEPT = 200;
  const GROUP_ABOVE = 150;
  const $ = (id) => document.getElementById(id);
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content || '';
  const fragment = new URLSearchParams(location.hash.slice(1));
  // The page of this machine has the token; from elsewhere it comes with the address.
  const given = fragment.get('token') || '';
  const token = meta('sprat-token') || given;
  const live = new URLSearchParams(location.search).get('live') !== '0';

  const el = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) {
      if (key === 'class') node.className = value;
      else if (key.startsWith('data-') || key.startsWith('aria-') || key === 'role') node.setAttribute(key, value);
      else node[key] = value;
    }
    node.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
    return node;
  };
  const svg = (tag, attrs = {}, text) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attrs)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const put = (testid, text) => {
    const node = document.querySelector(`[data-testid="${testid}"]`);
    if (node && node.textContent !== String(text)) node.textContent = text;
  };
  const count = (n) => Number(n || 0).toLocaleString('en');
  const many = (n, what) => `${count(n)} ${what}${Number(n) === 1 ? '' : 's'}`;
  const size = (n) => {
    let value = Number(n || 0);
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
  };
  const span = (ms) => {
    const s = Math.floor(Number(ms || 0) / 1000);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min` : `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  };
  const micros = (us) => (us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(1)} ms`);

  // A list of figures: [name, value, testid].
  const figures = (id, rows) => {
    const list = $(id);
    list.replaceChildren(...rows.map(([name, value, testid]) => {
      const dd = el('dd', {}, value);
      if (testid) dd.setAttribute('data-testid', testid);
      return el('div', {}, el('dt', {}, name), dd);
    }));
  };

  let last = null;
  let lastAt = 0;
  let rates = [];

  // ---- network ---------------------------------------------------------------------------------

  let wide = 2;
  const around = (n, of, radius, turn = 0) => {
    const angle = (2 * Math.PI * n) / Math.max(of, 1) + turn;
    return [radius * Math.cos(angle) * wide, radius * Math.sin(angle)];
  };
  // The nodes around this one: the super peers, then the peers, each with what it is doing.
  const neighborhood = (shot) => {
    if (shot.role === 'super') {
      return {
        supers: shot.links.map((link) => ({
          name: link.name, up: link.state === 'up',
          note: [link.state.replace('_', ' '), link.rtt ? `round trip ${micros(link.rtt)}` : '', link.why || ''].filter(Boolean).join(', '),
        })),
        peers: shot.sessions.map((each) => ({ name: each.peer, note: each.files == null ? 'serves nothing' : many(each.files, 'file'), kind: each.files == null ? 'guest' : 'peer' })),
        all: Math.max(shot.levels.sessions || 0, shot.sessions.length),
      };
    }
    const peers = new Map();
    const at = (name) => { if (!peers.has(name)) peers.set(name, { name, note: '', kind: 'peer' }); return peers.get(name); };
    for (const file of shot.peer?.downloads || []) {
      for (const each of file.sources || []) {
        const peer = at(each.source);
        peer.note = `sends ${file.name || file.what}: ${each.state}${each.rate ? `, ${size(each.rate)}/s` : ''}`;
        if (each.state === 'active') peer.kind = 'feeds';
        else if (each.bad) peer.kind = 'wrong';
      }
    }
    for (const file of shot.peer?.uploads || []) {
      for (const each of file.peers || []) {
        const peer = at(each.peer);
        peer.note = `${peer.note}${peer.note ? '; ' : ''}fetches ${file.path || file.root.slice(0, 8)}, ${size(each.rate)}/s`;
        if (peer.kind === 'peer') peer.kind = 'fed';
      }
    }
    const supers = (shot.peer?.supers || []).map((each) => ({ name: each.addr, up: each.state === 'up', note: each.why || each.state }));
    return { supers, peers: [...peers.values()], all: peers.size };
  };
  const drawNetwork = (shot) => {
    const { supers, peers, all } = neighborhood(shot);
    const isNarrow = $('net').clientWidth < 480;
    wide = isNarrow ? 1.3 : 2.1;
    $('net').setAttribute('viewBox', isNarrow ? '-200 -150 400 300' : '-300 -145 600 290');
    const labels = isNarrow ? 8 : 16;
    const parts = [];
    // A long address at the left or right edge would be cut off if it were centered.
    const edge = isNarrow ? 120 : 220;
    const anchor = (x) => (x < -edge ? ['start', x - 40] : x > edge ? ['end', x + 40] : ['middle', x]);
    const dot = (x, y, r, kind, title, label) => {
      const mark = svg('g', { class: 'node' });
      mark.append(svg('title', {}, title), svg('circle', { cx: x, cy: y, r, class: kind }));
      const [side, at] = anchor(x);
      if (label) mark.append(svg('text', { x: at, y: y + r + 10, 'text-anchor': side }, label));
      parts.push(mark);
    };
    const line = (x, y, kind, width) => parts.push(svg('line', { x1: 0, y1: 0, x2: x, y2: y, class: `edge ${kind}`, 'stroke-width': width }));
    const grouped = all > GROUP_ABOVE;
    const shown = grouped ? [] : peers;
    const placed = [
      ...supers.map((each, n) => ({ ...each, at: around(n, supers.length, 66, -Math.PI / 2), kind: each.up ? 'super' : 'off', r: 8 })),
      ...shown.map((each, n) => ({ ...each, at: around(n, shown.length, 118, Math.PI / Math.max(shown.length, 2)), up: true, r: shown.length > 60 ? 3 : 5 })),
    ];
    for (const each of placed) line(...each.at, each.up ? each.kind : 'down', each.kind === 'super' ? 2 : 1);
    const named = { super: supers.length <= labels, off: supers.length <= labels };
    for (const each of placed) dot(...each.at, each.r, each.kind, `${each.name}: ${each.note}`, (named[each.kind] ?? shown.length <= labels) ? each.name : '');
    if (grouped) {
      const serving = peers.filter((each) => each.kind === 'peer').length;
      line(0, 104, 'peer', 3);
      dot(0, 104, 20, 'peer', `${count(all)} peers; of the ${count(peers.length)} listed, ${count(serving)} serve files`, `${count(all)} peers`);
    }
    dot(0, 0, 11, 'self', `this node: ${shot.listen || shot.role}`, shot.name || shot.role);
    $('net').replaceChildren(...parts);
    const up = supers.filter((each) => each.up).length;
    put('network-line', shot.role === 'super'
      ? `${up} of ${supers.length} links up, ${count(all)} sessions`
      : `${up} of ${supers.length} super peers up, ${count(all)} peers in transfers`);
    const kinds = shot.role === 'super'
      ? [['super', 'neighbor'], ['off', 'neighbor that is not up'], ['peer', 'peer with files'], ['guest', 'peer without files']]
      : [['super', 'super peer'], ['off', 'super peer that is not up'], ['feeds', 'sends to this peer'], ['fed', 'fetches from it'], ['wrong', 'sent wrong bytes']];
    const drawn = new Set(placed.map((each) => each.kind));
    $('netkey').replaceChildren(...kinds.filter(([kind]) => drawn.has(kind)).map(([kind, name]) => el('span', {}, el('span', { class: `key k-${kind}` }), name)));
  };

  // ---- searches --------------------------------------------------------------------------------

  const drawQueries = (shot, before, seconds) => {
    const c = shot.counters;
    const rate = before && seconds > 0 ? Math.max(0, ((c.queries || 0) - (before.counters.queries || 0)) / seconds) : 0;
    if (before) rates.push(rate);
    rates = rates.slice(-60);
    const isSuper = shot.role === 'super';
    for (const id of ['rate', 'answers']) $(id).parentElement.hidden = !isSuper;
    if (!isSuper) {
      $('query-h').textContent = 'Share';
      return figures('queries', [
        ['files shared', count(shot.levels.files), 'files'],
        ['bytes shared', size(shot.levels.share_bytes), 'share-bytes'],
        ['sessions up', count(shot.levels.sessions_up), 'sessions-up'],
        ['sessions lost', count(c.sessions_lost), 'sessions-lost'],
      ]);
    }
    const s = shot.searches;
    const ended = (c.queries_complete || 0) + (c.queries_cut || 0);
    const ms = (value) => (value == null ? '–' : `${value} ms`);
    figures('queries', [
      ['per second', rate.toFixed(1), 'query-rate'],
      ['asked here', count(c.queries), 'queries'],
      ['complete', ended ? `${Math.floor((100 * (c.queries_complete || 0)) / ended)} %` : '–', 'complete-share'],
      ['answer p50', ms(s.ms_p50), 'answer-p50'],
      ['answer p99', ms(s.ms_p99), 'answer-p99'],
      ['cut', count(c.queries_cut), 'queries-cut'],
      ['for neighbors', count(c.flood_searched), 'flood-searched'],
      ['forwarded', count(c.link_query_out), 'queries-forwarded'],
      ['duplicates', count(c.flood_duplicate), 'flood-duplicates'],
      ['pruned by digests', count(c.flood_pruned), 'flood-pruned'],
      ['hits sent', count(c.hits_sent), 'hits-sent'],
      ['refused', count(c.queries_refused), 'queries-refused'],
      ['running', count(shot.levels.queries_running), 'queries-running'],
      ['files in the index', count(shot.levels.records), 'records'],
    ]);
    const most = Math.max(1, ...rates);
    const points = rates.map((each, n) => `${(300 * n) / 59},${48 - (46 * each) / most}`).join(' ');
    $('rate').replaceChildren(svg('polyline', { points, class: 'spark' }));
    const slowest = Math.max(1, ...s.last.map((each) => each.ms));
    $('answers').replaceChildren(...s.last.map((each, n) => {
      const height = 4 + (44 * each.ms) / slowest;
      const mark = svg('rect', { x: 300 - 3 * (s.last.length - n), y: 50 - height, width: 2.2, height, class: each.complete ? 'complete' : 'cut' });
      mark.append(svg('title', {}, `${each.ms} ms, ${each.hits} hits, ${each.reached} super peers searched, ${each.complete ? 'complete' : 'cut'}`));
      return mark;
    }));
    const reached = s.last.length ? Math.max(...s.last.map((each) => each.reached)) : 0;
    put('answers-line', s.last.length ? `the last ${s.last.length} answers: the slowest took ${slowest} ms, the widest reached ${reached} super peers` : 'no search yet');
  };

  // ---- transfers -------------------------------------------------------------------------------

  const bar = (total, sources) => {
    const picture = svg('svg', { class: 'bar', viewBox: '0 0 1000 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'share of each source' });
    let at = 0;
    sources.forEach((each, n) => {
      const width = total > 0 ? Math.min(1000 - at, (1000 * each.bytes) / total) : 0;
      const part = svg('rect', { x: at, y: 0, width, height: 10, class: `s${n % 8}` });
      part.append(svg('title', {}, `${each.source}: ${size(each.bytes)}`));
      picture.append(part);
      at += width;
    });
    return picture;
  };
  const drawTransfers = (shot, before, seconds) => {
    const c = shot.counters;
    const speed = (name) => (before && seconds > 0 ? size(Math.max(0, ((c[name] || 0) - (before.counters[name] || 0)) / seconds)) : '0 B');
    $('transfers').hidden = shot.role === 'super';
    figures('transfer', [
      ['received', size(c.bytes_received), 'bytes-received'], ['receiving', `${speed('bytes_received')}/s`],
      ['sent', size(c.bytes_sent), 'bytes-sent'], ['sending', `${speed('bytes_sent')}/s`],
      ['downloads', `${count(shot.levels.downloads_running)} running, ${count(shot.levels.downloads_waiting)} waiting`, 'downloads-line'],
      ['HTTP requests', count(c.net_http_requests), 'http-requests'],
    ]);
    $('downloads').replaceChildren(...(shot.peer?.downloads || []).map((file) => {
      const sources = file.sources || [];
      const done = file.size ? ` · ${size(file.bytes)} of ${size(file.size)} (${Math.floor((100 * (file.bytes || 0)) / file.size)} %)` : '';
      const rows = sources.map((each, n) => el('p', { class: 'small' }, el('span', { class: `key s${n % 8}` }),
        `${each.source} · ${each.state} · ${size(each.bytes)}${each.rate ? ` · ${size(each.rate)}/s` : ''} · ${many(each.pieces, 'piece')}${each.bad ? ` · ${each.bad} bad` : ''}${each.why ? ` · ${each.why}` : ''}`));
      return el('div', { class: 'file', 'data-testid': 'download' },
        el('p', {}, `${file.name || file.what} · ${file.state}${done}${file.rate ? ` · ${size(file.rate)}/s` : ''}`),
        bar(file.size, sources), ...rows, ...(file.error ? [el('p', { class: 'small bad' }, file.error)] : []));
    }));
    const nameOf = (file) => file.path || (shot.peer.downloads.find((each) => each.root === file.root) || {}).name || `${file.root.slice(0, 16)}…`;
    $('uploads').replaceChildren(...(shot.peer?.uploads || []).map((file) => el('div', { class: 'file', 'data-testid': 'upload' },
      el('p', {}, `sends ${nameOf(file)} · ${size(file.rate)}/s to ${many(file.peers.length, 'peer')}`),
      bar(file.peers.reduce((sum, each) => sum + each.bytes, 0), file.peers.map((each) => ({ source: each.peer, bytes: each.bytes }))),
      ...file.peers.slice(0, 8).map((each, n) => el('p', { class: 'small' }, el('span', { class: `key s${n % 8}` }), `${each.peer} · ${size(each.bytes)} · ${size(each.rate)}/s`)))));
  };

  // ---- sessions --------------------------------------------------------------------------------

  let sortBy = 0;
  let sortDown = false;
  const drawSessions = (shot) => {
    const head = shot.role === 'super' ? ['Peer', 'Node', 'Files', 'Queries', 'Silent for'] : ['Super peer', 'State', 'Since', 'Remark'];
    const rows = shot.role === 'super'
      ? shot.sessions.map((each) => [each.peer, each.node.slice(0, 8), each.files ?? '–', each.queries, [each.quiet_ms, span(each.quiet_ms)]])
      : (shot.peer?.supers || []).map((each) => [each.addr, each.state, [each.since_ms || 0, each.since_ms == null ? '' : span(each.since_ms)], each.why || each.unreached || '']);
    const key = (cell) => (Array.isArray(cell) ? cell[0] : cell);
    rows.sort((a, b) => {
      const [x, y] = [key(a[sortBy]), key(b[sortBy])];
      const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y));
      return sortDown ? -order : order;
    });
    const thead = $('sessions').tHead;
    if (thead.dataset.role !== shot.role) {
      thead.dataset.role = shot.role;
      thead.replaceChildren(el('tr', {}, ...head.map((name, n) => el('th', {}, el('button', {
        type: 'button',
        onclick: () => { sortDown = sortBy === n && !sortDown; sortBy = n; if (last) drawSessions(last); },
      }, name)))));
    }
    $('sessions').tBodies[0].replaceChildren(...rows.map((row) => el('tr', {}, ...row.map((cell) => el('td', {}, Array.isArray(cell) ? cell[1] : cell)))));
  };

  // ---- health ----------------------------------------------------------------------------------

  const drawHealth = (shot) => {
    const { levels: l, counters: c } = shot;
    figures('health', [
      ['memory', size(l.memory_resident), 'memory'],
      ['descriptors', `${count(l.descriptors_open)} of ${count(l.descriptors_max)}`, 'descriptors'],
      ['turn p50', micros(l.turn_us_p50 || 0), 'turn-p50'],
      ['turn p99', micros(l.turn_us_p99 || 0), 'turn-p99'],
      ['longest turn', micros(l.turn_us_max || 0), 'turn-max'],
      ['turns', count(c.turns), 'turns'],
      ['datagrams dropped', count(c.net_datagrams_dropped), 'datagrams-dropped'],
      ['connections refused', count(c.net_refused), 'refused'],
      ...(shot.role === 'super' ? [['messages in', count(c.net_messages_in), 'messages-in'], ['messages out', count(c.net_messages_out), 'messages-out']] : []),
      ['malformed', count((c.net_malformed || 0) + (c.net_http_malformed || 0)), 'malformed'],
      ['viewers', count(l.http_viewers), 'viewers'],
    ]);
  };

  // ---- events ----------------------------------------------------------------------------------

  const sentence = (event) => {
    switch (event.kind) {
      case 'welcomed': return `welcomed by super peer ${event.super}`;
      case 'session_lost': return `lost super peer ${event.super}: ${event.why}`;
      case 'link': return `link to ${event.neighbor} is ${event.up ? 'up' : 'down'}`;
      case 'peer': return event.left ? `peer ${event.peer} left: ${event.left}` : `peer ${event.peer} came${event.files == null ? '' : ` with ${many(event.files, 'file')}`}`;
      case 'more_peers': return `${count(event.came)} more peers came and ${count(event.left)} left`;
      case 'share': return `the share has ${many(event.files, 'file')}, ${size(event.bytes)}: ${count(event.added)} added or changed, ${count(event.removed)} removed`;
      case 'download': return `download ${event.id}: ${event.name || event.what} is ${event.state}${event.error ? `: ${event.error}` : ''}`;
      case 'source': return `download ${event.download}: source ${event.source} is ${event.state}${event.why ? `: ${event.why}` : ''}`;
      case 'log': return event.text;
      default: return event.kind;
    }
  };
  const note = (text, time) => {
    const line = el('li', {}, el('time', {}, (time || '').slice(11, 19)), text);
    $('log').prepend(line);
    while ($('log').children.length > KEPT) $('log').lastChild.remove();
  };

  // ---- all -------------------------------------------------------------------------------------

  const show = (shot) => {
    const now = performance.now();
    const before = last && last.uptime_ms <= shot.uptime_ms ? last : null;
    const seconds = before ? (shot.uptime_ms - before.uptime_ms) / 1000 : 0;
    put('role', shot.role);
    put('name', shot.name || '');
    put('listen', shot.listen || '');
    put('version', shot.version);
    put('uptime', span(shot.uptime_ms));
    drawNetwork(shot);
    drawQueries(shot, before, seconds);
    drawTransfers(shot, before, seconds);
    drawSessions(shot);
    drawHealth(shot);
    last = shot;
    lastAt = now;
    stale();
  };
  let refused = '';
  const stale = () => {
    const silent = performance.now() - lastAt;
    const badge = $('badge');
    badge.hidden = silent < STALE_MS && !refused;
    if (!badge.hidden) badge.textContent = refused || `no data for ${Math.floor(silent / 1000)} s`;
  };

  let source = null;
  let polling = 0;
  const poll = async () => {
    try {
      const answer = await fetch('/api/snapshot', { headers: token ? { 'X-Sprat-Token': token } : {} });
      refused = answer.status === 401 ? 'the token is missing or wrong: add #token= and the content of the file http-token' : '';
      if (answer.ok) show(await answer.json());
    } catch { /* The badge says it. */ }
  };
  const repeat = () => { polling = polling || setInterval(poll, 1000); };
  const open = () => {
    if (source || !live) return;
    // An event source cannot carry a token.
    if (given) { poll(); repeat(); return; }
    source = new EventSource('/events');
    source.addEventListener('snapshot', (event) => { clearInterval(polling); polling = 0; show(JSON.parse(event.data)); });
    source.addEventListener('log', (event) => { const line = JSON.parse(event.data); note(sentence(line.event), line.time); });
    source.addEventListener('gap', (event) => { const gap = JSON.parse(event.data); note(`events ${gap.first} to ${gap.last} were missed`); });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        repeat();
        setTimeout(open, 5000);
      }
    };
  };
  const close = () => { if (source) source.close(); source = null; };
  addEventListener('pagehide', close);
  addEventListener('pageshow', open);
  setInterval(stale, 500);

  // ---- changes ---------------------------------------------------------------------------------

  const post = async (path, fields) => {
    const answer = await fetch(path, { method: 'POST', headers: { 'X-Sprat-Token': token }, body: new URLSearchParams(fields).toString() });
    const text = await answer.text();
    try { return JSON.parse(text); } catch { return { ok: false, error: text.trim() }; }
  };
  const download = async (hit, button) => {
    button.disabled = true;
    const done = await post('/api/get', { root: hit.root, name: hit.name });
    button.textContent = done.ok ? 'in the queue' : 'failed';
    if (!done.ok) { note(done.error || 'the download was refused', new Date().toISOString()); button.disabled = false; }
  };
  const search = async (event) => {
    event.preventDefault();
    $('found').textContent = 'searching …';
    $('hits').hidden = true;
    const answer = await post('/api/search', { q: $('q').value });
    if (!answer.ok && !(answer.hits || []).length) { $('found').textContent = answer.error || 'nothing found'; return; }
    const contents = new Map();
    for (const hit of answer.hits) {
      const known = contents.get(hit.root) || { ...hit, sources: new Set() };
      known.sources.add(hit.source);
      contents.set(hit.root, known);
    }
    $('found').textContent = `${contents.size} found, ${answer.complete ? 'the answer is complete' : 'the answer is not complete'}`;
    $('hits').tBodies[0].replaceChildren(...[...contents.values()].map((hit) => {
      const button = el('button', { type: 'button', 'data-testid': 'download-button', 'aria-label': `download ${hit.name}` }, 'download');
      button.onclick = () => download(hit, button);
      return el('tr', { 'data-testid': 'hit' }, el('td', {}, hit.name), el('td', { class: 'n' }, size(hit.size)), el('td', {}, hit.sources.size), el('td', {}, button));
    }));
    $('hits').hidden = contents.size === 0;
  };
  if (meta('sprat-role') === 'peer' && token) {
    $('ask').hidden = false;
    $('search').addEventListener('submit', search);
  }
  lastAt = performance.now();
  if (live) open(); else poll();
})();
