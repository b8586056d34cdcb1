// node:querystring.
const escape = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (found) => (found === "'" ? '%27' : found));
const unescape = (text) => {
    try {
        return decodeURIComponent(text.replaceAll('+', ' '));
    } catch {
        return text;
    }
};

const querystring = {
    escape,
    unescape,
    stringify(values, separator = '&', equals = '=') {
        return Object.entries(values ?? {})
            .flatMap(([name, value]) =>
                (Array.isArray(value) ? value : [value]).map(
                    (item) => `${escape(name)}${equals}${item === null || item === undefined ? '' : escape(`${item}`)}`,
                ),
            )
            .join(separator);
    },
    parse(text, separator = '&', equals = '=') {
        const values = Object.create(null);
        for (const part of `${text}`.split(separator).filter(Boolean)) {
            const at = part.indexOf(equals);
            const name = unescape(at === -1 ? part : part.slice(0, at)),
                value = at === -1 ? '' : unescape(part.slice(at + equals.length));
            values[name] = name in values ? [values[name], value].flat() : value;
        }
        return values;
    },
};
querystring.encode = querystring.stringify;
querystring.decode = querystring.parse;

export default querystring;
