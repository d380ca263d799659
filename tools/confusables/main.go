// Command confusables makes server/account/lookalike/confusables.txt of the table of the same name that Unicode
// publishes with UTS #39:
//
//	cd tools && go run ./confusables -version 18.0.0 < confusables.txt > ../server/account/lookalike/confusables.txt
//
// Whoever takes a newer one raises lookalike.Version.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
)

const head = `# What looks like what: the prototypes of UTS #39 §4, each line a character and what stands for it, sorted.
# From confusables.txt of Unicode %s, by tools/confusables. Its terms follow.
#
# UNICODE LICENSE V3
# COPYRIGHT AND PERMISSION NOTICE
# Copyright © 1991-%s Unicode, Inc.
# NOTICE TO USER: Carefully read the following legal agreement. BY DOWNLOADING, INSTALLING, COPYING OR OTHERWISE USING DATA FILES,
# AND/OR SOFTWARE, YOU UNEQUIVOCALLY ACCEPT, AND AGREE TO BE BOUND BY, ALL OF THE TERMS AND CONDITIONS OF THIS AGREEMENT. IF YOU DO
# NOT AGREE, DO NOT DOWNLOAD, INSTALL, COPY, DISTRIBUTE OR USE THE DATA FILES OR SOFTWARE.
# Permission is hereby granted, free of charge, to any person obtaining a copy of data files and any associated documentation (the
# "Data Files") or software and any associated documentation (the "Software") to deal in the Data Files or Software without
# restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, and/or sell copies of the
# Data Files or Software, and to permit persons to whom the Data Files or Software are furnished to do so, provided that either (a)
# this copyright and permission notice appear with all copies of the Data Files or Software, or (b) this copyright and permission
# notice appear in associated Documentation.
# THE DATA FILES AND SOFTWARE ARE PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
# THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT OF THIRD PARTY RIGHTS.
# IN NO EVENT SHALL THE COPYRIGHT HOLDER OR HOLDERS INCLUDED IN THIS NOTICE BE LIABLE FOR ANY CLAIM, OR ANY SPECIAL INDIRECT OR
# CONSEQUENTIAL DAMAGES, OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
# NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THE DATA FILES OR SOFTWARE.
# Except as contained in this notice, the name of a copyright holder shall not be used in advertising or otherwise to promote the
# sale, use or other dealings in these Data Files or Software without prior written authorization of the copyright holder.

`

func main() {
	log.SetFlags(0)
	log.SetPrefix("confusables: ")
	version := flag.String("version", "", "of Unicode")
	year := flag.String("year", "2026", "of Unicode's copyright")
	flag.Parse()
	lines, err := read(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	if len(lines) == 0 || *version == "" {
		log.Fatal("wanted -version and Unicode's confusables.txt on standard input")
	}
	slices.Sort(lines) // UTF-8 sorts as its characters do, and no character begins as a longer one does
	fmt.Printf(head, *version, *year)
	for _, l := range lines {
		fmt.Println(l)
	}
}

// read returns the table's lines: SOURCE ; TARGET... ; MA # comment.
func read(in io.Reader) (lines []string, err error) {
	s := bufio.NewScanner(in)
	for s.Scan() {
		data, _, _ := strings.Cut(strings.TrimPrefix(s.Text(), "\ufeff"), "#")
		fields := strings.Split(data, ";")
		if len(fields) < 2 {
			continue
		}
		from, err := characters(fields[0])
		if err != nil {
			return nil, err
		}
		to, err := characters(fields[1])
		if err != nil {
			return nil, err
		}
		lines = append(lines, from+"\t"+to)
	}
	return lines, s.Err()
}

func characters(hex string) (string, error) {
	var b strings.Builder
	for _, f := range strings.Fields(hex) {
		n, err := strconv.ParseUint(f, 16, 32)
		if err != nil {
			return "", err
		}
		b.WriteRune(rune(n))
	}
	return b.String(), nil
}
