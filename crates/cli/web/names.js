// Names and texts of strangers, made safe: the rules of src/transfer/names.rs and src/text.rs, for files that the browser saves.

const MAX_FILES = 100_000;
const MAX_PATH = 4096;
const MAX_DEPTH = 32;
const MAX_NAME = 240;
// Control, format and unassigned characters, those that leave no mark, and fillers that look like blanks.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u;
const EVERY_UNSEEN = new RegExp(UNSEEN, 'gu');
const DEVICES = /^(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(COM|LPT)[0-9])$/;
const ACTED_UPON = /^(authorized_keys2?|autorun\.(inf|exe|sh)|desktop\.ini|folder\.htt)$|\.(appref-ms|desktop|directory|library-ms|lnk|pif|scf|search-ms|searchconnector-ms|settingcontent-ms|url|webloc|antiphon-part)$/;

/** A stranger's text, safe to show in a line: nothing unseen, nothing that changes the direction of what follows. */
export function plain(text, most = 200) {
  const cut = String(text).slice(0, most).replace(EVERY_UNSEEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return cut.length < text.length && text.length > most ? `${cut}...` : cut;
}

function safe(name) {
  let ours = name.replace(/[\\:*?"<>|]/g, '_').replace(EVERY_UNSEEN, '_');
  ours = ours.replace(/^[.\-~\s]/u, '_').replace(/[.\s]+$/u, (end) => '_'.repeat(end.length));
  const compared = ours.normalize('NFKC').toUpperCase();
  if (DEVICES.test(compared.split('.')[0].trimEnd())) ours = `_${ours}`;
  if (ACTED_UPON.test(compared.toLowerCase())) ours += '_';
  if (new TextEncoder().encode(ours).length > MAX_NAME) {
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
  if (!Array.isArray(entries) || entries.length > MAX_FILES) throw new Error('too many files');
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
    if (path.length > MAX_PATH || names.length > MAX_DEPTH) throw new Error('a path that is too long');
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

/** Whether whoever guesses at codes will not find this one soon: the rule of src/transfer/code.rs. */
export function isCode(code) {
  if (!/^[a-zA-Z0-9-]{1,64}$/.test(code)) return false;
  const letters = code.replaceAll('-', '').toLowerCase();
  const steps = [...letters].filter((c, at) => at > 0 && Math.abs(c.charCodeAt(0) - letters.charCodeAt(at - 1)) > 1).length;
  return letters.length >= (/^[0-9]*$/.test(letters) ? 14 : 10) && new Set(letters).size >= 6 && steps >= 6;
}

export const CODE_RULE = 'A code has 10 to 64 letters, digits and dashes, or 14 digits, and is no pattern. Leave it empty to send with one that nobody guesses.';
