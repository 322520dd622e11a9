// Names and texts of strangers, made safe for files that the browser saves. The rules are the server's (src/transfer/rules.rs), which tells
// them; the names stay here.

const answer = await fetch(new URL('rules.json', import.meta.url));
if (!answer.ok) throw new Error(`the rules for names: ${answer.status}`);
const rules = await answer.json();
const UNSEEN = new RegExp(rules.unseen, 'gu');

/** A stranger's text, safe to show in a line: nothing unseen, nothing that changes the direction of what follows. */
export function plain(text, most = 200) {
  const cut = String(text).slice(0, most).replace(UNSEEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return cut.length < text.length && text.length > most ? `${cut}...` : cut;
}

function safe(name) {
  let ours = name.replace(/[\\:*?"<>|]/g, '_').replace(UNSEEN, '_');
  ours = ours.replace(/^[.\-~\s]/u, '_').replace(/[.\s]+$/u, (end) => '_'.repeat(end.length));
  const compared = ours.normalize('NFKC').toUpperCase();
  const stem = compared.split('.')[0].trimEnd();
  if (rules.devices.includes(stem) || /^(COM|LPT)[0-9]$/.test(stem)) ours = `_${ours}`;
  const acted = compared.toLowerCase();
  if (rules.actedUpon.includes(acted) || rules.actedUponEnds.some((end) => acted.endsWith(end))) ours += '_';
  if (new TextEncoder().encode(ours).length > rules.maxName) {
    const end = /\.[^.]{1,10}$/u.exec(ours)?.[0] ?? '';
    ours = `${[...ours.slice(0, ours.length - end.length)].slice(0, 50).join('')}~${end}`;
  }
  return ours;
}

function numbered(name, number) {
  const dot = name.lastIndexOf('.');
  return dot > 0 ? `${name.slice(0, dot)} (${number})${name.slice(dot)}` : `${name} (${number})`;
}

/** Checks a stranger's list of files; what each is called here, in its order. Throws where the list is none that can be taken. */
export function safePaths(entries) {
  if (!Array.isArray(entries) || entries.length > rules.maxFiles) throw new Error('too many files');
  let total = 0;
  const known = new Map();
  const taken = new Set();
  const numbers = new Map();
  const take = (folder, name) => {
    const key = `${folder}${name.normalize('NFD').toUpperCase().toLowerCase().normalize('NFC')}`;
    if (!taken.has(key)) {
      taken.add(key);
      return name;
    }
    for (let number = (numbers.get(key) ?? 0) + 1; ; number += 1) {
      const other = numbered(name, number);
      const otherKey = `${folder}${other.normalize('NFD').toUpperCase().toLowerCase().normalize('NFC')}`;
      if (!taken.has(otherKey)) {
        taken.add(otherKey);
        numbers.set(key, number);
        return other;
      }
    }
  };
  return entries.map(({ path, size }) => {
    if (typeof path !== 'string' || !Number.isSafeInteger(size) || size < 0) throw new Error('a list that is none');
    total += size;
    const names = path.split('/');
    if (path.length > rules.maxPath || names.length > rules.maxDepth) throw new Error('a path that is too long');
    if (names.some((name) => name === '' || name === '.' || name === '..')) throw new Error('a path that leads elsewhere');
    if (!Number.isSafeInteger(total)) throw new Error('more bytes than there are');
    let folder = '';
    let sent = '';
    names.forEach((name, at) => {
      const last = at === names.length - 1;
      sent += `/${name}`;
      let ours = known.get(sent);
      if (ours && (last || ours.file)) throw new Error('the same path twice');
      if (!ours) {
        ours = { name: take(folder, safe(name)), file: last };
        known.set(sent, ours);
      }
      folder += last ? ours.name : `${ours.name}/`;
    });
    return folder;
  });
}

/** The question that the user is asked before a stranger's files are taken. */
export function question(entries, paths) {
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  const odd = entries.map(({ path }, at) => at).filter((at) => entries[at].path !== paths[at]);
  const show = (at) => `${plain(paths[at], 80)}${entries[at].path === paths[at] ? '' : `   (sent as "${plain(entries[at].path, 80)}")`}`;
  const first = paths.slice(0, 10).map((_, at) => show(at));
  const more = paths.length > 10 ? [`... and ${paths.length - 10} more`] : [];
  const rest = odd.filter((at) => at >= 10).slice(0, 10).map(show);
  const changed = odd.length > 0 ? [`${odd.length} names are hidden, acted upon or unclear on some system, and are changed.`] : [];
  return [`Receive ${paths.length} files, ${(total / 1e6).toFixed(1)} MB?`, '', ...first, ...more, ...rest, ...changed].join('\n');
}

/** Whether whoever guesses at codes will not find this one soon: the rule of src/code.rs. */
export function isCode(code) {
  const { most, least, leastDigits, leastDifferent } = rules.code;
  if (code.length > most || !/^[a-zA-Z0-9-]+$/.test(code)) return false;
  const letters = code.replaceAll('-', '').toLowerCase();
  const steps = [...letters].filter((c, at) => at > 0 && Math.abs(c.charCodeAt(0) - letters.charCodeAt(at - 1)) > 1).length;
  const enough = /^[0-9]*$/.test(letters) ? leastDigits : least;
  return letters.length >= enough && new Set(letters).size >= leastDifferent && steps >= leastDifferent;
}

export const CODE_RULE = `A code has ${rules.code.least} to ${rules.code.most} letters, digits and dashes, or ${rules.code.leastDigits} digits, and is no pattern. Leave it empty to send with one that nobody guesses.`;
