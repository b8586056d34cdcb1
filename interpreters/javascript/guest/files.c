/* Files, with Node's errors: `code`, `errno`, `syscall`, `path`. lib/fs.js makes Node's interface of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "native.h"

#define NATIVE(name) static JSValue name(JSContext *context, JSValueConst self, int count, JSValueConst *arguments)

struct problem {
    int error, linux_number;
    const char *code, *text;
};

static const struct problem problems[] = {
    {ENOENT, 2, "ENOENT", "no such file or directory"},
    {EEXIST, 17, "EEXIST", "file already exists"},
    {ENOTDIR, 20, "ENOTDIR", "not a directory"},
    {EISDIR, 21, "EISDIR", "illegal operation on a directory"},
    {ENOTEMPTY, 39, "ENOTEMPTY", "directory not empty"},
    {EACCES, 13, "EACCES", "permission denied"},
    {EPERM, 1, "EPERM", "operation not permitted"},
    {EINVAL, 22, "EINVAL", "invalid argument"},
    {EBADF, 9, "EBADF", "bad file descriptor"},
    {ENOSPC, 28, "ENOSPC", "no space left on device"},
    {EDQUOT, 122, "EDQUOT", "disk quota exceeded"},
    {EFBIG, 27, "EFBIG", "file too large"},
    {EROFS, 30, "EROFS", "read-only file system"},
    {EXDEV, 18, "EXDEV", "cross-device link not permitted"},
    {ELOOP, 40, "ELOOP", "too many symbolic links encountered"},
    {ENAMETOOLONG, 36, "ENAMETOOLONG", "name too long"},
    {EMFILE, 24, "EMFILE", "too many open files"},
    {ENOTCAPABLE, 13, "EACCES", "permission denied"},
};

/* Throws for `errno`. */
static JSValue
fail(JSContext *context, const char *call, const char *path)
{
    int number = errno;
    struct problem found = {number, number, "EIO", strerror(number)};
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        if (problems[i].error == number) {
            found = problems[i];
        }
    }
    JSValue error = JS_NewError(context);
    char message[700];
    if (path != NULL) {
        snprintf(message, sizeof(message), "%s: %s, %s '%.500s'", found.code, found.text, call, path);
    }
    else {
        snprintf(message, sizeof(message), "%s: %s, %s", found.code, found.text, call);
    }
    int hidden = JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE;
    JS_DefinePropertyValueStr(context, error, "message", JS_NewString(context, message), hidden);
    JS_DefinePropertyValueStr(context, error, "errno", JS_NewInt32(context, -found.linux_number), JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(context, error, "code", JS_NewString(context, found.code), JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(context, error, "syscall", JS_NewString(context, call), JS_PROP_C_W_E);
    if (path != NULL) {
        JS_DefinePropertyValueStr(context, error, "path", JS_NewString(context, path), JS_PROP_C_W_E);
    }
    return JS_Throw(context, error);
}

/* The answer of a call that gives nothing but a status. Frees `path`. */
static JSValue
done(JSContext *context, int status, const char *call, const char *path)
{
    JSValue answer = status < 0 ? fail(context, call, path) : JS_UNDEFINED;
    JS_FreeCString(context, path);
    return answer;
}

#define PATH(index)                                              \
    JS_ToCString(context, arguments[index]);                     \
    if (path == NULL) {                                          \
        return JS_EXCEPTION;                                     \
    }

/* readFile(path): a Uint8Array. */
NATIVE(read_file)
{
    const char *path = PATH(0);
    struct stat about;
    int descriptor = open(path, O_RDONLY);
    if (descriptor < 0 || fstat(descriptor, &about) < 0) {
        JSValue failed = fail(context, "open", path);
        JS_FreeCString(context, path);
        return failed;
    }
    uint8_t *bytes = NULL;
    size_t length = 0, room = 0;
    if (S_ISDIR(about.st_mode)) {
        errno = EISDIR;
    }
    ssize_t got = S_ISDIR(about.st_mode) ? -1 : 1;
    while (got > 0) {
        if (length == room) {
            room = room == 0 ? (size_t)about.st_size + 1 : room * 2;
            uint8_t *larger = js_realloc(context, bytes, room);
            if (larger == NULL) {
                js_free(context, bytes);
                close(descriptor);
                JS_FreeCString(context, path);
                return JS_EXCEPTION;
            }
            bytes = larger;
        }
        got = read(descriptor, bytes + length, room - length);
        length += got > 0 ? (size_t)got : 0;
    }
    JSValue answer = got < 0 ? fail(context, "read", S_ISDIR(about.st_mode) ? NULL : path)
                             : JS_NewUint8ArrayCopy(context, bytes ? bytes : (const uint8_t *)"", length);
    js_free(context, bytes);
    close(descriptor);
    JS_FreeCString(context, path);
    return answer;
}

static int
write_all(int descriptor, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(descriptor, bytes, length);
        if (wrote < 0) {
            return -1;
        }
        bytes += wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

static int
open_flags(const char *flags)
{
    int exclusive = strchr(flags, 'x') ? O_EXCL : 0, both = strchr(flags, '+') != NULL;
    switch (flags[0]) {
    case 'a':
        return (both ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND | exclusive;
    case 'w':
        return (both ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC | exclusive;
    default:
        return both ? O_RDWR : O_RDONLY;
    }
}

/* writeFile(path, bytes, flags) */
NATIVE(write_file)
{
    size_t length;
    const uint8_t *bytes = JS_GetUint8Array(context, &length, arguments[1]);
    const char *path = bytes ? JS_ToCString(context, arguments[0]) : NULL;
    const char *flags = path ? JS_ToCString(context, arguments[2]) : NULL;
    if (flags == NULL) {
        JS_FreeCString(context, path);
        return JS_EXCEPTION;
    }
    int descriptor = open(path, open_flags(flags), 0666);
    JS_FreeCString(context, flags);
    if (descriptor < 0) {
        return done(context, -1, "open", path);
    }
    int status = write_all(descriptor, bytes, length);
    int number = errno;
    close(descriptor);
    errno = number;
    return done(context, status, "write", path);
}

/* open(path, flags): a descriptor. */
NATIVE(open_file)
{
    const char *path = PATH(0);
    const char *flags = JS_ToCString(context, arguments[1]);
    int descriptor = flags ? open(path, open_flags(flags), 0666) : -1;
    JS_FreeCString(context, flags);
    if (descriptor < 0) {
        return done(context, -1, "open", path);
    }
    JS_FreeCString(context, path);
    return JS_NewInt32(context, descriptor);
}

/* close(descriptor) */
NATIVE(close_file)
{
    int32_t descriptor;
    if (JS_ToInt32(context, &descriptor, arguments[0]) < 0) {
        return JS_EXCEPTION;
    }
    return done(context, close(descriptor), "close", NULL);
}

/* transfer(descriptor, bytes, position or -1, write): how many bytes. */
NATIVE(transfer)
{
    int32_t descriptor;
    int64_t position;
    size_t length;
    uint8_t *bytes = JS_GetUint8Array(context, &length, arguments[1]);
    if (bytes == NULL || JS_ToInt32(context, &descriptor, arguments[0]) < 0
        || JS_ToInt64(context, &position, arguments[2]) < 0) {
        return JS_EXCEPTION;
    }
    int writes = JS_ToBool(context, arguments[3]);
    ssize_t moved;
    if (position >= 0) {
        moved = writes ? pwrite(descriptor, bytes, length, position) : pread(descriptor, bytes, length, position);
    }
    else {
        moved = writes ? write(descriptor, bytes, length) : read(descriptor, bytes, length);
    }
    return moved < 0 ? fail(context, writes ? "write" : "read", NULL) : JS_NewInt64(context, moved);
}

static JSValue
describe(JSContext *context, const struct stat *about)
{
    const double fields[] = {
        (double)about->st_mode, (double)about->st_size,
        (double)about->st_atim.tv_sec * 1e3 + (double)about->st_atim.tv_nsec / 1e6,
        (double)about->st_mtim.tv_sec * 1e3 + (double)about->st_mtim.tv_nsec / 1e6,
        (double)about->st_ctim.tv_sec * 1e3 + (double)about->st_ctim.tv_nsec / 1e6,
        (double)about->st_ino, (double)about->st_nlink, (double)about->st_dev,
    };
    JSValue answer = JS_NewArray(context);
    for (uint32_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        JS_SetPropertyUint32(context, answer, i, JS_NewFloat64(context, fields[i]));
    }
    return answer;
}

/* stat(path, follow): [mode, size, atime, mtime, ctime, inode, links, device], times in milliseconds. */
NATIVE(stat_file)
{
    const char *path = PATH(0);
    int follow = JS_ToBool(context, arguments[1]);
    struct stat about;
    if ((follow ? stat(path, &about) : lstat(path, &about)) < 0) {
        return done(context, -1, follow ? "stat" : "lstat", path);
    }
    JS_FreeCString(context, path);
    return describe(context, &about);
}

/* fstat(descriptor) */
NATIVE(stat_descriptor)
{
    int32_t descriptor;
    struct stat about;
    if (JS_ToInt32(context, &descriptor, arguments[0]) < 0) {
        return JS_EXCEPTION;
    }
    return fstat(descriptor, &about) < 0 ? fail(context, "fstat", NULL) : describe(context, &about);
}

/* exists(path) */
NATIVE(exists)
{
    const char *path = PATH(0);
    int found = access(path, F_OK) == 0;
    JS_FreeCString(context, path);
    return JS_NewBool(context, found);
}

/* readdir(path): names and kinds ('d', 'f', 'l'), alternating. */
NATIVE(read_folder)
{
    const char *path = PATH(0);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return done(context, -1, "scandir", path);
    }
    JSValue names = JS_NewArray(context);
    uint32_t index = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        const char *kind = entry->d_type == DT_DIR ? "d" : entry->d_type == DT_LNK ? "l" : "f";
        JS_SetPropertyUint32(context, names, index++, JS_NewString(context, entry->d_name));
        JS_SetPropertyUint32(context, names, index++, JS_NewString(context, kind));
    }
    closedir(folder);
    JS_FreeCString(context, path);
    return names;
}

NATIVE(make_folder)
{
    const char *path = PATH(0);
    return done(context, mkdir(path, 0777), "mkdir", path);
}

NATIVE(remove_folder)
{
    const char *path = PATH(0);
    return done(context, rmdir(path), "rmdir", path);
}

NATIVE(remove_file)
{
    const char *path = PATH(0);
    return done(context, unlink(path), "unlink", path);
}

/* rename(from, to) */
NATIVE(rename_file)
{
    const char *path = PATH(0);
    const char *to = JS_ToCString(context, arguments[1]);
    int status = to ? rename(path, to) : -1;
    JS_FreeCString(context, to);
    return done(context, status, "rename", path);
}

/* symlink(target, path) */
NATIVE(link_file)
{
    const char *path = PATH(1);
    const char *target = JS_ToCString(context, arguments[0]);
    int status = target ? symlink(target, path) : -1;
    JS_FreeCString(context, target);
    return done(context, status, "symlink", path);
}

NATIVE(read_link)
{
    const char *path = PATH(0);
    char target[4096];
    ssize_t length = readlink(path, target, sizeof(target));
    if (length < 0) {
        return done(context, -1, "readlink", path);
    }
    JS_FreeCString(context, path);
    return JS_NewStringLen(context, target, (size_t)length);
}

NATIVE(real_path)
{
    const char *path = PATH(0);
    char *found = realpath(path, NULL);
    if (found == NULL) {
        return done(context, -1, "realpath", path);
    }
    JSValue answer = JS_NewString(context, found);
    free(found);
    JS_FreeCString(context, path);
    return answer;
}

/* truncate(path, length) */
NATIVE(truncate_file)
{
    const char *path = PATH(0);
    int64_t length = 0;
    int status = JS_ToInt64(context, &length, arguments[1]) < 0 ? -1 : truncate(path, length);
    return done(context, status, "truncate", path);
}

/* utimes(path, atime, mtime), in seconds */
NATIVE(set_times)
{
    const char *path = PATH(0);
    struct timespec times[2];
    for (int i = 0; i < 2; i++) {
        double seconds = 0;
        JS_ToFloat64(context, &seconds, arguments[1 + i]);
        times[i].tv_sec = (time_t)seconds;
        times[i].tv_nsec = (long)((seconds - (double)times[i].tv_sec) * 1e9);
    }
    return done(context, utimensat(AT_FDCWD, path, times, 0), "utime", path);
}

NATIVE(change_folder)
{
    const char *path = PATH(0);
    return done(context, chdir(path), "chdir", path);
}

NATIVE(current_folder)
{
    char path[4096];
    return getcwd(path, sizeof(path)) ? JS_NewString(context, path) : fail(context, "getcwd", NULL);
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("readFile", 1, read_file),
    JS_CFUNC_DEF("writeFile", 3, write_file),
    JS_CFUNC_DEF("open", 2, open_file),
    JS_CFUNC_DEF("close", 1, close_file),
    JS_CFUNC_DEF("transfer", 4, transfer),
    JS_CFUNC_DEF("stat", 2, stat_file),
    JS_CFUNC_DEF("fstat", 1, stat_descriptor),
    JS_CFUNC_DEF("exists", 1, exists),
    JS_CFUNC_DEF("readdir", 1, read_folder),
    JS_CFUNC_DEF("mkdir", 1, make_folder),
    JS_CFUNC_DEF("rmdir", 1, remove_folder),
    JS_CFUNC_DEF("unlink", 1, remove_file),
    JS_CFUNC_DEF("rename", 2, rename_file),
    JS_CFUNC_DEF("symlink", 2, link_file),
    JS_CFUNC_DEF("readlink", 1, read_link),
    JS_CFUNC_DEF("realpath", 1, real_path),
    JS_CFUNC_DEF("truncate", 2, truncate_file),
    JS_CFUNC_DEF("utimes", 3, set_times),
    JS_CFUNC_DEF("chdir", 1, change_folder),
    JS_CFUNC_DEF("cwd", 0, current_folder),
};

void
sandpool_native_files(JSContext *context, JSValueConst native)
{
    JS_SetPropertyFunctionList(context, native, functions, sizeof(functions) / sizeof(functions[0]));
}
