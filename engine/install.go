package engine

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/monge-ml/monge/internal/child"
)

// pinnedVersion is the release that Install fetches.
const pinnedVersion = "1.30.0"

// maxLibrary bounds what is written while a library is unpacked, in bytes. The largest pinned one
// has 46 MB.
const maxLibrary = 128 << 20

// A pin is the library of one platform in the two packages that carry it. The hashes are SHA-256,
// in hexadecimal, of the library itself.
type pin struct {
	npmFile, npmHash string // file in the npm package onnxruntime-node
	pipTag           string // platform tag of the wheel onnxruntime; the library is the same for every Python version
	pipFile, pipHash string // file in that wheel
}

// pins holds one entry per GOOS/GOARCH.
var pins = map[string]pin{
	"linux/amd64": {
		npmFile: "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
		npmHash: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
		pipTag:  "manylinux_2_28_x86_64",
		pipFile: "onnxruntime/capi/libonnxruntime.so.1.30.0",
		pipHash: "c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed",
	},
	"linux/arm64": {
		npmFile: "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
		npmHash: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
		pipTag:  "manylinux_2_28_aarch64",
		pipFile: "onnxruntime/capi/libonnxruntime.so.1.30.0",
		pipHash: "8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789",
	},
	"darwin/arm64": {
		npmFile: "package/bin/napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib",
		npmHash: "685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d",
		pipTag:  "macosx_14_0_arm64",
		pipFile: "onnxruntime/capi/libonnxruntime.1.30.0.dylib",
		pipHash: "b46713ea6a25a5227541c21001f6422c1ccdeaecc369aa026a61b752520325c3",
	},
	"windows/amd64": {
		npmFile: "package/bin/napi-v6/win32/x64/onnxruntime.dll",
		npmHash: "508c362f5673483dd3a086379c392795b2e42d10d5e6f3f90ebd7ac21c97af67",
		pipTag:  "win_amd64",
		pipFile: "onnxruntime/capi/onnxruntime.dll",
		pipHash: "e42c5c917207ff706530315177e39dca2539695a6a8d968a22225e34291b1f12",
	},
	"windows/arm64": {
		npmFile: "package/bin/napi-v6/win32/arm64/onnxruntime.dll",
		npmHash: "6c3a2abf5c6aca11c48a0d338a91af309f2266f25ce2e4084e6a87bbcb0fbfd0",
		pipTag:  "win_arm64",
		pipFile: "onnxruntime/capi/onnxruntime.dll",
		pipHash: "73f0a1ed25a088da5dbc5f76af9c32f8b7dd88033715078b0c04632a9d11f745",
	},
}

// Install puts onnxruntime 1.30.0 for this platform into the user's cache
// (os.UserCacheDir()/monge/onnxruntime/1.30.0) and returns it. The library is taken out of the npm
// package onnxruntime-node (fetched with `npm pack`; no script of the package is run) or, if npm is
// missing or fails, out of the Python wheel onnxruntime (`pip download`), and its SHA-256 must be
// the one written down here. Nothing is fetched if the library is there already. Of two programs
// that install at once one waits for the other. The file appears whole or not at all; what an
// installation that was killed has left behind is removed by the next one. progress, if not nil, is
// told in a few words what happens.
func Install(ctx context.Context, progress func(message string)) (Library, error) {
	if progress == nil {
		progress = func(string) {}
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	p, ok := pins[platform]
	if !ok {
		return Library{}, fmt.Errorf("no prebuilt onnxruntime %s for %s: set %s to a library of version %s or later",
			pinnedVersion, platform, EnvLibrary, MinVersion)
	}
	root, err := cacheRoot()
	if err != nil {
		return Library{}, fmt.Errorf("no user cache folder: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Library{}, err
	}
	unlock, err := lockFolder(ctx, root, progress)
	if err != nil {
		return Library{}, err
	}
	defer unlock()
	file, err := p.install(ctx, root, progress)
	if err == nil {
		err = trustCached(root, file)
	}
	switch {
	case ctx.Err() != nil:
		return Library{}, ctx.Err()
	case err != nil:
		return Library{}, fmt.Errorf("cannot install onnxruntime %s: %w", pinnedVersion, err)
	}
	return Library{Path: file, Version: pinnedVersion, Source: userCache}, nil
}

// lockFolder waits until no other installation is under way in a folder.
func lockFolder(ctx context.Context, root string, progress func(string)) (unlock func(), err error) {
	lock := flock.New(root, flock.SetFlag(os.O_RDONLY))
	if runtime.GOOS == "windows" { // where folders cannot be locked
		lock = flock.New(filepath.Join(root, ".lock"))
	}
	held, err := lock.TryLock()
	if err == nil && !held {
		progress("waiting for another installation to end")
		_, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	return func() { lock.Unlock() }, nil
}

// stagePattern matches the folders under the cache in which installations work. None of them is in
// use while the cache is locked.
const stagePattern = ".install-*"

// install puts the library under root, unless it is there, and returns its path.
func (p pin) install(ctx context.Context, root string, progress func(string)) (string, error) {
	left, _ := filepath.Glob(filepath.Join(escapeGlob(root), stagePattern))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
	dir := filepath.Join(root, pinnedVersion)
	for _, s := range p.sources() {
		file := filepath.Join(dir, path.Base(s.file))
		if sum, err := hashFile(file); err == nil && sum == s.hash {
			return file, nil
		}
	}
	stage, err := os.MkdirTemp(root, stagePattern)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(stage)
	var failed []string
	for _, s := range p.sources() {
		if failed != nil {
			progress(failed[0] + "; trying " + s.name)
		}
		fetched, err := s.fetch(ctx, stage, progress)
		if err == nil {
			file := filepath.Join(dir, path.Base(s.file))
			return file, errors.Join(os.MkdirAll(dir, 0o755), os.Rename(fetched, file))
		}
		failed = append(failed, err.Error())
	}
	return "", errors.New(strings.Join(failed, "; "))
}

// A source is a package that carries the library.
type source struct {
	name, file, hash string
	command          []string // leaves the package in the working directory
	pattern          string   // of the package's file name
	open             func(archive, file string) (io.ReadCloser, error)
}

func (p pin) sources() []source {
	return []source{
		{"npm", p.npmFile, p.npmHash, []string{"npm", "pack", "onnxruntime-node@" + pinnedVersion, "--ignore-scripts", "--loglevel=error"},
			"*.tgz", openTar},
		// The wheel of one fixed Python version is asked for, so that it does not matter which one
		// runs here.
		{"pip", p.pipFile, p.pipHash, []string{pythonName(), "-m", "pip", "download", "onnxruntime==" + pinnedVersion, "--no-deps",
			"--only-binary=:all:", "--python-version=3.12", "--platform=" + p.pipTag, "--quiet", "--disable-pip-version-check"},
			"*.whl", openZip},
	}
}

// fetch gets the package into a folder and unpacks its library there.
func (s source) fetch(ctx context.Context, dir string, progress func(string)) (string, error) {
	program, err := exec.LookPath(s.command[0])
	if err != nil {
		return "", fmt.Errorf("%s is not installed", s.command[0])
	}
	progress("running " + strings.Join(s.command, " "))
	cmd := exec.CommandContext(ctx, program, s.command[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = 2 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &output
	if err := child.Run(cmd); err != nil {
		return "", fmt.Errorf("%s failed: %s", s.command[0], lastLine(output.String(), err))
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), s.pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s left %d files that match %s, want 1", s.command[0], len(found), s.pattern)
	}
	progress("unpacking " + path.Base(s.file))
	f, err := s.open(found[0], s.file)
	if err != nil {
		return "", fmt.Errorf("%s package: %w", s.name, err)
	}
	defer f.Close()
	return store(dir, path.Base(s.file), s.hash, f)
}

// A member is a file in an archive; closing it closes the archive.
type member struct {
	io.Reader
	io.Closer
}

func openTar(archive, file string) (io.ReadCloser, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	r, err := inTar(f, file)
	if err != nil {
		f.Close()
		return nil, err
	}
	return member{r, f}, nil
}

func inTar(archive io.Reader, file string) (io.Reader, error) {
	gz, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(gz)
	for {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("no %s in it", file)
		case err != nil:
			return nil, err
		case h.Name == file && h.Typeflag == tar.TypeReg:
			return r, nil
		}
	}
}

func openZip(archive, file string) (io.ReadCloser, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, err
	}
	f, err := z.Open(file)
	if err != nil {
		z.Close()
		return nil, err
	}
	return member{f, z}, nil
}

// lastLine picks the most telling line of a failed command's error output.
func lastLine(output string, err error) string {
	lines := strings.FieldsFunc(output, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		// npm ends with a pointer to its log file, which says nothing by itself.
		if line != "" && !strings.Contains(line, "complete log of this run") && !strings.Contains(line, "_logs") {
			return line
		}
	}
	return err.Error()
}

// unpacked is what a library is called until it is moved to its place.
const unpacked = "unpacked"

// store writes r to a file in dir if it has the expected hash. name is for errors.
func store(dir, name, hash string, r io.Reader) (file string, err error) {
	file = filepath.Join(dir, unpacked)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(r, maxLibrary+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n > maxLibrary || got != hash {
		return "", fmt.Errorf("%s: SHA-256 is %s, want %s", name, got, hash)
	}
	if err := f.Chmod(0o755); err != nil && runtime.GOOS != "windows" {
		return "", err // a umask for groups would make others able to write it
	}
	return file, errors.Join(f.Sync(), f.Close())
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
