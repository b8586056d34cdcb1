function work() {
    let text = '';
    for (let i = 0; i < 100000; i++) text += String.fromCharCode(97 + (i % 26));
    return text
        .split('e')
        .map((part) => part.toUpperCase())
        .join('-')
        .replaceAll('A', 'aa').length;
}
