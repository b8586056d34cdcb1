/* File streams, which our libc++ leaves out together with its file system: over C's files, one character at a time. Included
 * before everything else in C++ (HiGHS and fast_matrix_market name them). */

#pragma once

#include <cstdio>
#include <fstream>
#include <istream>
#include <ostream>
#include <string>

_LIBCPP_BEGIN_NAMESPACE_STD

template <class Char, class Traits>
class basic_filebuf : public basic_streambuf<Char, Traits> {
    FILE *file = nullptr;
    Char read;

public:
    using int_type = typename Traits::int_type;

    ~basic_filebuf() override { close(); }

    bool is_open() const { return file != nullptr; }

    basic_filebuf *open(const char *name, ios_base::openmode mode)
    {
        const bool reads = mode & ios_base::in, writes = mode & ios_base::out;
        const char *as = mode & ios_base::app ? "ab" : !writes ? "rb" : !reads ? "wb" : mode & ios_base::trunc ? "w+b" : "r+b";
        return !file && (file = fopen(name, as)) ? this : nullptr;
    }

    basic_filebuf *close()
    {
        FILE *open = file;
        file = nullptr;
        return open && fclose(open) == 0 ? this : nullptr;
    }

protected:
    int_type underflow() override
    {
        const int next = file ? fgetc(file) : EOF;
        if (next == EOF) {
            return Traits::eof();
        }
        read = static_cast<Char>(next);
        this->setg(&read, &read, &read + 1);
        return Traits::to_int_type(read);
    }

    int_type overflow(int_type character) override
    {
        if (Traits::eq_int_type(character, Traits::eof())) {
            return Traits::not_eof(character);
        }
        return file && fputc(Traits::to_char_type(character), file) != EOF ? character : Traits::eof();
    }

    int sync() override { return file && fflush(file) == 0 ? 0 : -1; }
};

template <class Stream, class Char, class Traits, ios_base::openmode Always>
class file_stream : public Stream {
    basic_filebuf<Char, Traits> buffer;

public:
    file_stream() : Stream(nullptr) { this->init(&buffer); }

    explicit file_stream(const char *name, ios_base::openmode mode = Always) : file_stream() { open(name, mode); }

    explicit file_stream(const string &name, ios_base::openmode mode = Always) : file_stream() { open(name, mode); }

    void open(const string &name, ios_base::openmode mode = Always)
    {
        if (buffer.open(name.c_str(), mode | Always)) {
            this->clear();
        } else {
            this->setstate(ios_base::failbit);
        }
    }

    bool is_open() const { return buffer.is_open(); }

    void close()
    {
        if (!buffer.close()) {
            this->setstate(ios_base::failbit);
        }
    }
};

template <class Char, class Traits>
class basic_ifstream : public file_stream<basic_istream<Char, Traits>, Char, Traits, ios_base::in> {
public:
    using file_stream<basic_istream<Char, Traits>, Char, Traits, ios_base::in>::file_stream;
};

template <class Char, class Traits>
class basic_ofstream : public file_stream<basic_ostream<Char, Traits>, Char, Traits, ios_base::out> {
public:
    using file_stream<basic_ostream<Char, Traits>, Char, Traits, ios_base::out>::file_stream;
};

_LIBCPP_END_NAMESPACE_STD
