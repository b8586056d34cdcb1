// `import` and `export` declarations in a cell. A cell is a script, so that its variables outlive it; scripts have no such
// declarations. They become `const {...} = await import(...)`, each on the line where it stood.
//
// Deliberately does not: parse JavaScript. It only knows where texts, templates, comments and regular expressions end, and
// how deep in brackets it is.

const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy;
const BEFORE_REGEX =
    /(?:^|[=(,;:?[{}!&|+\-*%~^<>]|\b(?:return|typeof|case|in|of|delete|void|throw|new|else|do|await|yield))$/;

/** The position after what starts at `at`: a text, a template, a comment, a regular expression, or one character. */
function skip(text, at, before) {
    const character = text[at];
    if (character === '"' || character === "'") {
        let end = at + 1;
        while (end < text.length && text[end] !== character && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
        return end + 1;
    }
    if (character === '`') return skipTemplate(text, at + 1);
    if (character === '/' && text[at + 1] === '/') {
        const end = text.indexOf('\n', at);
        return end === -1 ? text.length : end;
    }
    if (character === '/' && text[at + 1] === '*') {
        const end = text.indexOf('*/', at + 2);
        return end === -1 ? text.length : end + 2;
    }
    if (character === '/' && BEFORE_REGEX.test(before)) {
        let end = at + 1,
            inClass = false;
        while (end < text.length && text[end] !== '\n' && (inClass || text[end] !== '/')) {
            if (text[end] === '\\') end++;
            else if (text[end] === '[') inClass = true;
            else if (text[end] === ']') inClass = false;
            end++;
        }
        return end + 1;
    }
    return at + 1;
}

function skipTemplate(text, at) {
    while (at < text.length) {
        if (text[at] === '\\') at += 2;
        else if (text[at] === '`') return at + 1;
        else if (text[at] === '$' && text[at + 1] === '{') {
            let depth = 1;
            at += 2;
            while (at < text.length && depth > 0) {
                if (text[at] === '{') depth++;
                else if (text[at] === '}') depth--;
                at = skip(text, at, '');
            }
        } else at++;
    }
    return at;
}

const SPACE = String.raw`(?:\s|/\*[^]*?\*/|//[^\n]*\n)*`;
const NAME = String.raw`[\p{ID_Start}$_][\p{ID_Continue}$]*`;
const FROM = String.raw`(?<quote>["'])(?<from>(?:\\.|(?!\k<quote>)[^\\\n])*)\k<quote>`;
const IMPORT = new RegExp(
    String.raw`import(?:${SPACE}(?:(?<default>${NAME})${SPACE},?${SPACE})?` +
        String.raw`(?:\*${SPACE}as\s+(?<all>${NAME})|(?<names>\{[^}]*\}))?${SPACE}from)?${SPACE}${FROM}` +
        String.raw`(?:[ \t]*(?:with|assert)\s*(?<with>\{[^}]*\}))?[ \t]*;?`,
    'uy',
);

function importOf(found) {
    const { default: whole, all, names, from, quote, with: attributes } = found.groups;
    const call = `await import(${quote}${from}${quote}${attributes ? `, { with: ${attributes} }` : ''})`;
    const lines = '\n'.repeat(found[0].split('\n').length - 1);
    const parts = [];
    if (names !== undefined) {
        const bare = names.replace(/\/\*[^]*?\*\/|\/\/[^\n]*/g, ' ').slice(1, -1);
        for (const part of bare.split(',')) {
            const [name, as] = part.trim().split(/\s+as\s+/);
            if (name) parts.push(as ? `${name}: ${as}` : name);
        }
    }
    if (whole) parts.unshift(`default: ${whole}`);
    if (all) return `const ${all} = ${call}${whole ? `, ${whole} = ${all}.default` : ''};${lines}`;
    if (names !== undefined || whole) return `const { ${parts.join(', ')} } = ${call};${lines}`;
    return `void ${call};${lines}`;
}

function exportOf(text, at) {
    const rest = text.slice(at);
    const declaration = /^export\s+(?=(?:const|let|var|function|class|async)\b)/.exec(rest);
    if (declaration) return [declaration[0].replace(/[^\n]/g, ''), declaration[0].length];
    const whole = /^export\s+default\s+(?=(?:async\s+)?(?:function|class)\b(?:\s*\*)?\s+[\p{ID_Start}$_])/u.exec(rest);
    if (whole) return [whole[0].replace(/[^\n]/g, ''), whole[0].length];
    const value = /^export\s+default\s+/.exec(rest);
    if (value) return [`void 0, ${value[0].replace(/[^\n]/g, '')}`, value[0].length];
    const names = /^export\s*\{[^}]*\}(?:\s*from\s*(["'])[^"'\n]*\1)?;?/.exec(rest);
    if (names) return [names[0].replace(/[^\n]/g, ''), names[0].length];
    return undefined;
}

/** The cell with its declarations made into expressions. */
export function rewrite(text) {
    let output = '',
        depth = 0,
        at = 0,
        before = '';
    while (at < text.length) {
        const character = text[at];
        WORD.lastIndex = at;
        const word = WORD.exec(text)?.[0];
        if (word !== undefined) {
            const starts = depth === 0 && (before === '' || /[;}\n)]$/.test(before) || /\n\s*$/.test(output));
            if (word === 'import' && starts) {
                IMPORT.lastIndex = at;
                const found = IMPORT.exec(text);
                if (found !== null) {
                    output += importOf(found);
                    at += found[0].length;
                    before = ';';
                    continue;
                }
            } else if (word === 'export' && starts) {
                const found = exportOf(text, at);
                if (found !== undefined) {
                    output += found[0];
                    at += found[1];
                    before = ';';
                    continue;
                }
            }
            output += word;
            at += word.length;
            before = word;
            continue;
        }
        const end = skip(text, at, before);
        const part = text.slice(at, end);
        if (end === at + 1) {
            if (character === '(' || character === '[' || character === '{') depth++;
            else if (character === ')' || character === ']' || character === '}') depth--;
        }
        const isComment = part.startsWith('//') || part.startsWith('/*');
        if (!isComment && character.trim() !== '') before = end > at + 1 ? '"' : character;
        output += part;
        at = end;
    }
    return output;
}
