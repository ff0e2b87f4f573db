package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// imageFormats says of the endings of image files whether their format is read.
var imageFormats = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".jpe": true, ".jfif": true, ".webp": true, ".gif": true, ".bmp": true,
	".tif": true, ".tiff": true,
	".heic": false, ".heif": false, ".avif": false, ".jxl": false, ".jp2": false, ".j2k": false, ".svg": false, ".psd": false,
	".exr": false, ".hdr": false, ".ppm": false, ".pgm": false, ".pbm": false, ".pnm": false, ".tga": false, ".ico": false,
	".dng": false, ".cr2": false, ".cr3": false, ".nef": false, ".arw": false, ".raw": false,
}

// ownFolders are made by operating systems and network drives beside the user's own.
var ownFolders = []string{"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}

// A folder is what a folder of images holds.
type folder struct {
	root    string
	files   []string // images, in order
	classes []string // for each of them the folder in root that it lies in; "" if it lies in root itself
	inside  []string // all folders in root, in order
	deep    string   // an image that does not lie in such a folder itself, but in another one below; "" if there is none
	foreign []string // images in formats that are not read
	broken  []string // what cannot be opened, with the reason
}

// listFolder lists the images of a folder and of all folders below. Hidden files and what operating
// systems leave behind are not looked at. Symbolic links are followed, but not in circles.
func listFolder(root string) (*folder, error) {
	f := &folder{root: root}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	f.list(root, entries, []string{}, []fs.FileInfo{info})
	return f, nil
}

// list adds the entries of a folder. below are the names of the folders that lead to it from the
// root, above what they are.
func (f *folder) list(dir string, entries []fs.DirEntry, below []string, above []fs.FileInfo) {
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		if strings.HasPrefix(name, ".") || slices.Contains(ownFolders, name) {
			continue
		}
		isDir := e.IsDir()
		var info fs.FileInfo
		var err error
		if !e.Type().IsRegular() {
			if info, err = os.Stat(path); err == nil {
				isDir = info.IsDir()
			}
		}
		switch {
		case err == nil && isDir:
			if !slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
				f.enter(path, append(below[:len(below):len(below)], name), append(above[:len(above):len(above)], info))
			}
		case err == nil && info != nil && !info.Mode().IsRegular(): // a device, a pipe
		default:
			f.add(path, below, err)
		}
	}
}

// enter lists a folder inside the root.
func (f *folder) enter(path string, below []string, above []fs.FileInfo) {
	if len(below) == 1 {
		f.inside = append(f.inside, below[0])
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		f.broken = append(f.broken, reason(path, err))
	}
	f.list(path, entries, below, above)
}

// add takes a file, if its name says that it is an image. err says why it cannot be opened.
func (f *folder) add(path string, below []string, err error) {
	read, isImage := imageFormats[strings.ToLower(filepath.Ext(path))]
	switch {
	case !isImage:
		return
	case err != nil:
		f.broken = append(f.broken, reason(path, err))
		return
	case !read:
		f.foreign = append(f.foreign, path)
		return
	}
	class := ""
	if len(below) > 0 {
		class = below[0]
	}
	if len(below) > 1 && f.deep == "" {
		f.deep = path
	}
	f.files, f.classes = append(f.files, path), append(f.classes, class)
}

// reason is an error that names its file once.
func reason(path string, err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Sprintf("%s: %v", path, err)
}

// remarks says what was left aside.
func (f *folder) remarks() []string {
	var list []string
	if n := len(f.foreign); n > 0 {
		list = append(list, fmt.Sprintf("%s: %s skipped, since their format is not read: %s", f.root, plural(n, "image is", "images are"), firstOf(f.foreign)))
	}
	if n := len(f.broken); n > 0 {
		list = append(list, fmt.Sprintf("%s: %s skipped, since they cannot be opened: %s", f.root, plural(n, "entry is", "entries are"), firstOf(f.broken)))
	}
	return list
}

// firstOf prints the first of several.
func firstOf(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return list[0] + ", ..."
}

// plural prints a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// empty is what there is to say of a folder without images.
func (f *folder) empty() error {
	switch {
	case len(f.foreign) > 0:
		return fmt.Errorf("no images in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF): %s", firstOf(f.foreign))
	case len(f.broken) > 0:
		return fmt.Errorf("no images that can be opened: %s", firstOf(f.broken))
	}
	return errors.New("no images (PNG, JPEG, WebP, GIF, BMP, TIFF), and no input_0.pb, in this folder")
}

// tooDeep says that it is not plain which folders are the classes.
func (f *folder) tooDeep() error {
	below, _ := filepath.Rel(f.root, f.deep)
	first, _, _ := strings.Cut(filepath.ToSlash(below), "/")
	const most = 3
	names := strings.Join(f.inside[:min(most, len(f.inside))], ",")
	if len(f.inside) > most {
		names += ",..."
	}
	return fmt.Errorf("%s lies two folders down or more, and it is not plain which folders are the classes: give %s if they are in there, or --classes %s", f.deep, filepath.Join(f.root, first), names)
}

// labels numbers the classes: the folders in root, whether there are images in them or not, as they
// were when a model was trained on them; or as named by the caller. A folder whose images lie in it
// directly has none.
func (f *folder) labels(names []string) (labels []int, classes, remarks []string, err error) {
	if names == nil && !slices.ContainsFunc(f.classes, func(c string) bool { return c != "" }) {
		return nil, nil, nil, nil
	}
	if i := slices.Index(f.classes, ""); i >= 0 {
		return nil, nil, nil, fmt.Errorf("%s lies beside the folders of classes", f.files[i])
	}
	if classes = names; names == nil {
		if f.deep != "" {
			return nil, nil, nil, f.tooDeep()
		}
		classes = f.inside
		if none := slices.DeleteFunc(slices.Clone(classes), func(c string) bool { return slices.Contains(f.classes, c) }); len(none) > 0 {
			remarks = append(remarks, fmt.Sprintf("%s: %s no image that is read, and counts as a class all the same: %s", f.root, plural(len(none), "folder has", "folders have"), firstOf(none)))
		}
	}
	number := make(map[string]int, len(classes))
	for i, c := range slices.Backward(classes) {
		number[c] = i
	}
	labels = make([]int, len(f.files))
	for i, class := range f.classes {
		n, known := number[class]
		if !known {
			return nil, nil, nil, fmt.Errorf("folder %q is not among the %d classes", class, len(classes))
		}
		labels[i] = n
	}
	return labels, classes, remarks, nil
}
